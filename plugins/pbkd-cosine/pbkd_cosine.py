"""Cosine distance between the replacement's output and the block's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from pbkd import Loss, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

PBKD_CONTRACT = 2


def error(output: Tensor, target: Tensor) -> Tensor:
    """Compute the mean cosine distance, which ignores scale.

    Args:
        output: The replacement's output, of shape (batch, ...).
        target: The block's output, of the same shape.

    Returns:
        One minus the cosine similarity, averaged over the batch.
    """
    return 1 - functional.cosine_similarity(output.flatten(1), target.flatten(1), dim=1).mean()


@hookimpl
def register_losses() -> list[Loss]:
    """Register the loss `cosine`."""
    return [Loss("cosine", error)]
