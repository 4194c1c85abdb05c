"""Fine-tuning of students: in one go, or in rounds until each loses little enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.pipeline.drop import (
    is_beyond,
    is_kept,
    loss_sentence,
    score_to_beat,
    validation_change,
)
from pbkd.pipeline.refine import Stage, score_name
from pbkd.pipeline.student_tuning import tune_on_workers
from pbkd.planning.training_length import tuning_rounds
from pbkd.runs.assignment import FINE_TUNING, STUDENT
from pbkd.runs.progress import checkpoint_store
from pbkd.training.best_state import copy_state, newest_checkpoint
from pbkd.training.finetune import NetworkTraining, train_together
from pbkd.training.training_events import TrainingEvents
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import nn

    from pbkd.pipeline.context import RunContext
    from pbkd.training.best_state import BestState
    from pbkd.training.checkpoint import CheckpointStore
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["Tuning", "fine_tune"]

_FAR = 2  # times the points that may be lost
_UNHELPFUL = (
    " No epoch was better, so the student stays as it was; if the losses rose, lower finetune.lr."
)


@dataclass(frozen=True)
class Tuning:
    """The fine-tuning of a student.

    Attributes:
        ctx: Its run.
        student: The student; changed in place.
        before: The student as it is.
        settings: Hyperparameters; no epochs to skip the stage.
        accepted: The candidates that are in the student.
        max_drop: The points that it may lose on the validation images; None for no limit.
        gives_up: Whether to stop after a round if it surely loses twice that.
    """

    ctx: RunContext
    student: nn.Module
    before: Stage
    settings: TrainingSettings
    accepted: Collection[str]
    max_drop: float | None = None
    gives_up: bool = False


def fine_tune(tunings: Sequence[Tuning]) -> list[tuple[Stage | None, str]]:
    """Fine-tune students of one teacher: on all workers if the plan says so, one after another.

    Else they are trained in this process, together, which gives each what it would become alone. A
    student that may lose a number of points is trained in rounds, until on the validation split it
    surely loses no more, or gains nothing while it surely loses more. The last round is left out if
    it surely loses twice that.

    Args:
        tunings: The students, with the same data and batches.

    Returns:
        Each student after its best epoch; None if the stage was skipped. And what happened, for the
        report.
    """
    found = [_why_not(tuning) or _Course(tuning) for tuning in tunings]
    courses = [each for each in found if isinstance(each, _Course)]
    while waiting := [course for course in courses if not course.is_over]:
        parts = [course.next_round() for course in waiting]
        for course, best in zip(waiting, _train(parts), strict=True):
            course.see(best)
    return [(None, each) if isinstance(each, str) else each.result() for each in found]


def _why_not(tuning: Tuning) -> str | None:
    """Say why a student is not fine-tuned, if so."""
    if tuning.max_drop is not None:
        change = validation_change(tuning.ctx.task, tuning.before.classes)
        if is_kept(change, tuning.max_drop):
            loss = loss_sentence(change, "validation")
            return f"The student needs no fine-tuning: it {loss}."
    return None if tuning.settings.epochs else "Fine-tuning was not asked for."


class _Course:
    """The rounds of a student's fine-tuning; `is_over` after the last that it needs."""

    def __init__(self, tuning: Tuning) -> None:
        """Find out which rounds are left, if the run was resumed."""
        epochs = tuning.settings.epochs
        rounds = (epochs,) if tuning.max_drop is None else tuning_rounds(epochs)
        _, facts = newest_checkpoint(_checkpoints(tuning.ctx), tuning.student) or ({}, {})
        done = facts.get("epochs", 0)
        self.is_over = False
        self._tuning = tuning
        self._ends = [end for end in rounds if end >= done]
        self._begun = max((end for end in rounds if end < done), default=0)
        self._ending = ""

    def next_round(self) -> Tuning:
        """Return the student with the epochs of its next round."""
        settings = replace(self._tuning.settings, begun=self._begun, epochs=self._ends[0])
        return replace(self._tuning, settings=settings)

    def see(self, best: BestState) -> None:
        """Learn how the round has ended."""
        self._best = best
        begun, end = self._begun, self._ends.pop(0)
        self._begun, self.is_over = end, not self._ends
        max_drop = self._tuning.max_drop
        if max_drop is None:
            return
        change = validation_change(self._tuning.ctx.task, self._stage().classes)
        is_stuck = begun > 0 and best.epoch <= begun and is_beyond(change, max_drop)
        is_last = begun > 0 and len(self._ends) == 1
        is_far = (self._tuning.gives_up or is_last) and is_beyond(change, _FAR * max_drop)
        self.is_over |= is_kept(change, max_drop) or is_stuck or is_far
        gain = f", the last {end - begun} without gain" if is_stuck else ""
        ended = f"stopped after {end} of {self._ends[-1]}" if self._ends else f"took all {end}"
        loss = loss_sentence(change, "validation")
        self._ending = f" It {ended} epochs{gain}: the student {loss}."

    def result(self) -> tuple[Stage, str]:
        """Return the student after its best epoch, and what happened."""
        tuning, best, stage = self._tuning, self._best, self._stage()
        before = tuning.before.validation
        note = (
            f"Fine-tuning took {score_name(tuning.ctx.task)} from {100 * before:.2f} to"
            f" {100 * stage.validation:.2f} %.{_lowered(tuning.settings, best)}"
            f"{self._ending}"
        )
        unhelpful = "" if best.epoch else _UNHELPFUL
        return stage, note + unhelpful

    def _stage(self) -> Stage:
        best, before = self._best, self._tuning.before
        classes = before.classes if best.classes is None else best.classes
        score = best.score if best.epoch else before.validation
        return Stage(copy_state(self._tuning.student), score, classes)


def _train(parts: Sequence[Tuning]) -> list[BestState]:
    """Train students for a round each, from their newest checkpoints."""
    ctx = parts[0].ctx
    if workers := ctx.planned.sharing.get(FINE_TUNING):
        return [
            tune_on_workers(
                each.ctx,
                each.student,
                score_to_beat(each.ctx.task, each.before.validation),
                each.accepted,
                workers,
                (each.settings.begun, each.settings.epochs),
            )
            for each in parts
        ]
    task = ctx.task
    trainings = [
        NetworkTraining(
            each.student,
            each.settings,
            _hooks(each.ctx, each.settings, score_to_beat(each.ctx.task, each.before.validation)),
        )
        for each in parts
    ]
    return train_together(trainings, task.data, task.teacher.normalization, teacher=task.feeding)


def _lowered(settings: TrainingSettings, best: BestState) -> str:
    if best.rate == 1:
        return ""
    rate = settings.optimisation.lr * best.rate
    return f" It exploded at first: its learning rate was lowered to {rate:g}."


def _checkpoints(ctx: RunContext) -> CheckpointStore:
    return checkpoint_store(ctx.folder, FINE_TUNING, STUDENT, writer="host")


def _hooks(ctx: RunContext, settings: TrainingSettings, initial_score: float) -> TrainingHooks:
    """Report fine-tuning as events, and keep checkpoints in the run folder."""
    events = TrainingEvents(
        emit=ctx.log.emit,
        phase=FINE_TUNING,
        network=STUDENT,
        epochs=settings.epochs,
        images=min(settings.batch_size, len(ctx.task.data.train)),
    )
    return TrainingHooks(
        events.epoch_finished,
        _checkpoints(ctx),
        True,
        events.start_pace,
        initial_score,
        events.rate_lowered,
    )
