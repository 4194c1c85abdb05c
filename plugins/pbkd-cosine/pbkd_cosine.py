"""Cosine distance between the replacement's output and the block's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional

from pbkd import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class Cosine:
    """Mean cosine distance per sample, which ignores scale."""

    name: ClassVar[str] = "cosine"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return one minus the cosine similarity, averaged over the batch.

        Args:
            output: The replacement's output, of shape (batch, ...).
            target: The block's output, of the same shape.
        """
        return 1 - functional.cosine_similarity(output.flatten(1), target.flatten(1), dim=1).mean()


@hookimpl
def register_losses() -> list[type[Loss]]:
    """Register the loss `cosine`."""
    return [Cosine]
