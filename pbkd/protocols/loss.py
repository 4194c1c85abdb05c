"""Losses: how far a replacement's output is from its block's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


__all__ = ["Loss"]


@dataclass(frozen=True)
class Loss:
    """The distance of a replacement's output from the block's output: an error, over a scale.

    Both are means over the batch. They are kept apart because both can be averaged over workers
    that share a batch, and over micro-batches, but their quotient cannot. The docstring of `error`
    is shown to users.

    Called for each block in each step: in planning, in the host process, on one batch; then in
    every worker. An exception counts as a failure of the block.

    Attributes:
        name: The name that `distill.loss` selects.
        error: Maps (output, target), each (B, ...), to a scalar; differentiable in the output.
        scale: Maps the target to a scalar by which the error is divided; None for no division.
    """

    name: str
    error: Callable[[Tensor, Tensor], Tensor]
    scale: Callable[[Tensor], Tensor] | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a whole batch, a scalar."""
        value = self.error(output, target)
        return value if self.scale is None else value / self.safe(self.scale(target))

    @staticmethod
    def safe(scale: Tensor) -> Tensor:
        """Return a scale that is safe to divide by, also if the target is all zeros."""
        return scale.clamp_min(1e-12)
