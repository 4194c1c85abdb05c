"""Whether the loss of a training has risen far above the loss that it started from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.training.failures import LEAST_DIVERGED

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.training.replicas import ReplicaGroup


__all__ = ["LossWatch"]

_EARLY = 10
_PARTS, _EARLY_PARTS = 8, 2
_LEAST_STEPS = 4  # of a part; of fewer steps a mean says little


@dataclass
class LossWatch:
    """Compares the mean loss of each eighth of some steps with the first batch's loss.

    In the first two eighths, while the learning rate rises, a healthy loss may rise too: there it
    diverges above ten times its start, later above `most` times. A device is waited for at the end
    of each eighth only. Replicas that share the batches come to the same conclusion.

    Attributes:
        steps: The steps that are divided into eighths, of four steps or more.
        epoch: Steps per epoch. No eighth is longer, or goes on in the next epoch, so that a
            training which is interrupted after an epoch comes to the same conclusion.
        most: How many times its start a healthy loss is at most, once the rate has risen.
        start: The loss of the first batch, from the initial weights; None before it.
        seen: The number of steps seen.
    """

    steps: int
    epoch: int
    most: float = 1.5
    start: float | None = None
    seen: int = 0
    _total: float | Tensor = 0.0

    def see(self, loss: Tensor, replicas: ReplicaGroup | None = None) -> str | None:
        """Take the loss of a step into account.

        Args:
            loss: The loss, a detached scalar; with replicas, this one's part of it.
            replicas: The workers that share the batch, if any.

        Returns:
            How the loss rose, in words, if it diverges (and is above 0.1); else None.
        """
        if self.start is None:
            self.start = float(replicas.sum(loss) if replicas else loss)
        step = self.seen % self.epoch
        self.seen += 1
        part = max(_LEAST_STEPS, self.steps // _PARTS)
        length = min(part, self.epoch)
        self._total = loss if step % length == 0 else self._total + loss
        if (step + 1) % length:
            return None
        mean = float(replicas.sum(self._total) if replicas else self._total) / length
        factor = _EARLY if self.seen <= _EARLY_PARTS * part else self.most
        if not math.isfinite(mean):
            return f"its loss is {mean} after {self.seen} steps"
        if mean <= max(LEAST_DIVERGED, factor * self.start):
            return None
        return f"its loss rose from {self.start:.3g} to {mean:.3g} in {self.seen} steps"
