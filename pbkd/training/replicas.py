"""Data-parallel replicas of one span, with the same update as one worker on whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

from pbkd.training.applied_loss import safe_scale

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import LossContext
    from pbkd.training.applied_loss import AppliedLoss


__all__ = ["ReplicaGroup", "replica_traffic"]

_Norm = nn.modules.batchnorm._BatchNorm


def replica_traffic(module: nn.Module) -> tuple[int, int]:
    """Count what a step of a replica group exchanges.

    Returns:
        Bytes of gradients, and the number of all-reduces: a BatchNorm exchanges mean and variance,
        forward and backward; a loss its scale and its gradients.
    """
    norms = sum(isinstance(child, _Norm) for child in module.modules())
    return sum(parameter.nbytes for parameter in module.parameters()), 4 * norms + 2


@dataclass(frozen=True)
class ReplicaGroup:
    """The replicas of one span.

    Their updates equal the updates of one worker on whole batches, up to the rounding of sums.

    Attributes:
        group: The process group of the replicas.
        share: This replica's share of every batch's rows.
    """

    group: dist.ProcessGroup
    share: float

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over the replicas, detached."""
        whole = value.detach().clone()
        dist.all_reduce(whole, group=self.group)
        return whole

    def loss(
        self, loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
    ) -> Tensor:
        """Compute this replica's part of the whole batch's loss; the parts add up to it."""
        part = self.share * loss.error(output, target, context)
        scale = loss.scale(target)
        return part if scale is None else part / safe_scale(self.sum(self.share * scale))

    def add_gradients(self, module: nn.Module) -> None:
        """Add up the gradients of all replicas, in place (all-reduce)."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        whole = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(whole, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def share_norms(self, module: nn.Module) -> None:
        """Let every BatchNorm of a replacement use the statistics of the whole batch.

        It replaces torch's SyncBatchNorm, which needs an accelerator.
        """
        for norm in module.modules():
            if isinstance(norm, _Norm):
                norm.forward = partial(self._normalise, norm)  # type: ignore[method-assign]

    def _normalise(self, norm: _Norm, x: Tensor) -> Tensor:
        narrow, x = x.dtype, x.float()
        dims = [dim for dim in range(x.ndim) if dim != 1]
        column = [1, -1] + [1] * (x.ndim - 2)
        mean = self._mean(x.mean(dims))
        centred = x - mean.view(column)
        variance = self._mean(centred.square().mean(dims))
        self._track(norm, mean.detach(), variance.detach(), x.numel() / x.shape[1] / self.share)
        scale = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            weight = (norm.weight * scale).view(column)
            return torch.addcmul(norm.bias.view(column), centred, weight).to(narrow)
        return (centred * scale.view(column)).to(narrow)

    def _mean(self, value: Tensor) -> Tensor:
        whole: Tensor = all_reduce(self.share * value, group=self.group)  # type: ignore[no-untyped-call]
        return whole

    @torch.no_grad()
    def _track(self, norm: _Norm, mean: Tensor, variance: Tensor, count: float) -> None:
        if norm.running_mean is None or norm.running_var is None:
            return
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        momentum = norm.momentum or 1 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * count / (count - 1), momentum)
