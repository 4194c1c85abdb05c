"""Failures of a block: its loss diverges, its replacement raises, memory runs out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pbkd.errors import is_out_of_memory, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "LEAST_DIVERGED",
    "OUT_OF_MEMORY",
    "describe_divergence",
    "describe_error",
    "divergence_reason",
    "is_divergence",
]

OUT_OF_MEMORY = "its training ran out of memory"
LEAST_DIVERGED = 0.1
"""A loss up to this never counts as diverged, since a multiple of a first loss near 0 is still
small. For `nmse` it is a tenth of the target's mean square."""
_DIVERGED = "its training diverged"
_GROWTH = 10


def divergence_reason(losses: Sequence[float]) -> str | None:
    """Describe how a block's losses diverge.

    Losses diverge if one is NaN or infinite, or above 0.1 and more than ten times the first one.

    Args:
        losses: The mean loss of each epoch.

    Returns:
        The reason, as the end of a sentence; None if they do not diverge.
    """
    for epoch, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            return describe_divergence(f"the loss of epoch {epoch} is {loss}")
        if loss > max(LEAST_DIVERGED, _GROWTH * losses[0]):
            return describe_divergence(
                f"the loss grew from {losses[0]:.3g} to {loss:.3g} in epoch {epoch}"
            )
    return None


def describe_divergence(how: str) -> str:
    """Return a reason for which `is_divergence` holds."""
    return f"{_DIVERGED} ({how})"


def is_divergence(reason: str | None) -> bool:
    """Whether a block failed because its loss diverged."""
    return (reason or "").startswith(_DIVERGED)


def describe_error(error: Exception) -> str:
    """Describe in one line the error that stopped a block's training."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return f"its training failed ({one_line(error).removesuffix('.')})"
