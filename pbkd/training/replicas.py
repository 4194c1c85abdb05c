"""Data-parallel replicas of a network, with the same update as one worker on whole batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pbkd.training.applied_loss import needs_whole_batches, safe_scale
from pbkd.training.shared_norm import norms_of, share_norms

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pbkd.protocols import LossContext
    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.exchange import Exchange
    from pbkd.training.link import RowRange


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
    """The replicas of one span of the chain, or of the whole student.

    Their updates equal the updates of one worker on whole batches, up to the rounding of sums.

    Attributes:
        exchange: How they exchange values.
        rows: This replica's rows of every batch.
        batch: Rows of every batch.
    """

    exchange: Exchange
    rows: RowRange
    batch: int

    @property
    def share(self) -> float:
        """This replica's share of every batch's rows."""
        return (self.rows.stop - self.rows.start) / self.batch

    @property
    def part(self) -> slice:
        """This replica's rows of every batch, as a slice."""
        return slice(self.rows.start, self.rows.stop)

    def part_of(self, count: int) -> slice:
        """Return this replica's part of `count` things, in proportion to its rows."""
        start, stop = (round(count * row / self.batch) for row in (self.rows.start, self.rows.stop))
        return slice(start, stop)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over the replicas, detached."""
        whole = value.detach().clone(memory_format=torch.contiguous_format)
        self.exchange.add(whole.view(-1))
        return whole

    def loss(
        self, loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
    ) -> Tensor:
        """Compute this replica's part of the whole batch's loss; the parts add up to it.

        A loss that is no mean over rows gets the rows of all replicas.
        """
        if needs_whole_batches(loss.loss):
            whole = context and self._gather_context(context)
            value = loss(self.gather(output), self.gather(target), whole)
            return value - (1 - self.share) * value.detach()
        part = self.share * loss.error(output, target, context)
        scale = loss.scale(target)
        return part if scale is None else part / safe_scale(self.sum(self.share * scale))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all replicas; gradients flow back to this replica's own."""
        whole: Tensor = _Gather.apply(rows, self)
        return whole

    def _gather_context(self, context: LossContext) -> LossContext:
        return replace(
            context,
            input=self.gather(context.input),
            features={name: self.gather(x) for name, x in context.features.items()},
            teacher_features={name: self.gather(x) for name, x in context.teacher_features.items()},
            labels=None if context.labels is None else self.gather(context.labels),
        )

    def add_gradients(self, module: nn.Module) -> None:
        """Add up the gradients of all replicas, in place (all-reduce)."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        whole = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(whole, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def share_norms(self, module: nn.Module) -> None:
        """Let every BatchNorm of a network use the statistics of the whole batch."""
        share_norms(module, self.exchange)


class _Gather(torch.autograd.Function):
    """Put the rows of all replicas together."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, replicas: ReplicaGroup) -> Tensor:
        ctx.part = replicas.part
        whole = rows.new_zeros((replicas.batch, *rows.shape[1:]))
        whole[replicas.part] = rows
        replicas.exchange.add(whole.view(-1))
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.part], None
