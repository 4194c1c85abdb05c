"""Data-parallel replicas of one span, with the same update as one worker on whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.training.applied_loss import safe_scale
from pbkd.training.shared_norm import norms_of, share_norms

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pbkd.protocols import LossContext
    from pbkd.training.applied_loss import AppliedLoss


__all__ = ["ReplicaGroup", "replica_traffic"]


def replica_traffic(module: nn.Module) -> tuple[int, int]:
    """Count what a step of a replica group exchanges.

    Returns:
        Bytes of gradients, and the number of exchanges: one of each BatchNorm forward, and one
        backward; a loss exchanges its scale and its gradients.
    """
    gradients = sum(parameter.nbytes for parameter in module.parameters())
    return gradients, 2 * len(list(norms_of(module))) + 2


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
        """Let every BatchNorm of a replacement use the statistics of the whole batch."""
        share_norms(module, self.group)
