"""Where a network's training reports progress and keeps its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.training.best_state import write_finished, write_progress
from pbkd.training.loss_watch import LossWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.training.best_state import BestState
    from pbkd.training.checkpoint import CheckpointStore
    from pbkd.training.learner import Learner
    from pbkd.training.throughput import Pace


__all__ = ["TrainingHooks"]

_LEAST_RATE = 0.002  # the factor below which the learning rate is not lowered any more
_MOST = 3.0
"""How many times its start a whole network's loss may be: blocks that are trained begin near the
teacher, from where a rate that is right may lead through losses twice as high."""


@dataclass(frozen=True)
class TrainingHooks:
    """Where `train_network` reports progress and keeps its state.

    Attributes:
        epoch_finished: Gets the epoch, from 0, its mean loss and its validation score.
        checkpoints: Where checkpoints go, and from where training resumes; None for nowhere.
        writes: Whether this process writes them.
        start_pace: Gets the first epoch and the steps per epoch; returns a function through which
            the batches of every epoch pass.
        initial_score: The network's validation score before the first epoch; None to measure it.
        rate_lowered: Gets a sentence when the training explodes, and its epoch is repeated from the
            best state at a tenth of the learning rate; None to go on in any case.
    """

    epoch_finished: Callable[[int, float, float], None] = lambda _epoch, _loss, _score: None
    checkpoints: CheckpointStore | None = None
    writes: bool = True
    start_pace: Callable[[int, int], Pace] = lambda _epoch, _steps: iter
    initial_score: float | None = None
    rate_lowered: Callable[[str], None] | None = None

    def watch(self, best: BestState, steps: int) -> LossWatch | None:
        """Return what watches the loss of an epoch; None if the rate will not be lowered."""
        if self.rate_lowered is None or best.rate < _LEAST_RATE:
            return None
        return LossWatch(steps, steps, _MOST, best.start)

    def start_again(self, how: str, best: BestState, learner: Learner, steps: int) -> Pace:
        """Tell that an epoch has exploded, and how; return the pace of its repetition.

        Args:
            how: What happened, in words.
            best: The state to which the training has returned.
            learner: The training, with the lower rate.
            steps: Steps per epoch.
        """
        if self.rate_lowered is not None:
            self.rate_lowered(
                f"Epoch {best.epochs + 1} exploded ({how}): it is repeated from the best state,"
                f" with the learning rate {learner.optimisation.lr:g}."
            )
        return self.start_pace(best.epochs, steps)

    def keep(self, best: BestState, learner: Learner | None = None) -> None:
        """Write a checkpoint, if this process writes any; without `learner` the final one."""
        if self.checkpoints is None or not self.writes:
            return
        if learner is None:
            write_finished(self.checkpoints, best)
        else:
            write_progress(self.checkpoints, learner, best)
