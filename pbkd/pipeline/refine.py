"""Refinement of the assembled student: recalibration and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.models.accuracy import share_correct
from pbkd.pipeline.scoring import predict_states
from pbkd.pipeline.student_tuning import tune_on_workers
from pbkd.runs.assignment import FINE_TUNING, RECALIBRATION, STUDENT
from pbkd.runs.progress import checkpoint_store
from pbkd.training.best_state import copy_state
from pbkd.training.finetune import NetworkTraining, train_together
from pbkd.training.recalibration import recalibrate
from pbkd.training.training_events import TrainingEvents
from pbkd.training.training_hooks import TrainingHooks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.pipeline.context import RunContext
    from pbkd.training.best_state import BestState
    from pbkd.training.task import DistillationTask
    from pbkd.training.training_settings import TrainingSettings


__all__ = ["Stage", "Tuning", "fine_tune", "recalibrate_student"]

_UNHELPFUL = (
    " No epoch was better, so the student stays as it was; if the losses rose, lower finetune.lr."
)


@dataclass(frozen=True)
class Stage:
    """The student after a stage.

    Attributes:
        state: Its parameters and buffers.
        validation: Its score on the validation split.
        classes: Its classes of the validation images, int64 (images,); None if it was scored while
            it was trained.
    """

    state: Mapping[str, Tensor]
    validation: float
    classes: Tensor | None = None


def recalibrate_student(
    ctx: RunContext, student: nn.Module, count: int, batch_size: int, accepted: Collection[str]
) -> tuple[dict[str, Stage], str]:
    """Recalibrate BatchNorm; restore the old statistics unless the validation score improves.

    Args:
        ctx: The run; its plan says which workers share the scoring.
        student: The student as it was assembled; changed in place.
        count: Number of batches; 0 to skip the stage.
        batch_size: Images per batch.
        accepted: The candidates that are in the student; without any, the stage is skipped.

    Returns:
        The student as it was `assembled`, and `recalibrated`, also if it was not kept, unless the
        stage was skipped. And what happened, for the report.
    """
    states = {"assembled": copy_state(student)}
    if count and accepted:
        recalibrate(student, ctx.task, count, batch_size)
        states["recalibrated"] = copy_state(student)
    classes = predict_states(ctx, RECALIBRATION, student, states, accepted)
    validation = ctx.task.data.validation
    stages = {
        name: Stage(state, share_correct(classes[name], validation), classes[name])
        for name, state in states.items()
    }
    before, after = stages["assembled"], stages.get("recalibrated")
    is_better = after is not None and after.validation > before.validation
    student.load_state_dict(after.state if after and is_better else before.state)
    if after is None:
        return stages, "Recalibration was not asked for."
    return stages, (
        f"Recalibration took {_score_name(ctx.task)} from"
        f" {100 * before.validation:.2f} to {100 * after.validation:.2f} % and was"
        f" {'kept' if is_better else 'not kept'}."
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
    """

    ctx: RunContext
    student: nn.Module
    before: Stage
    settings: TrainingSettings
    accepted: Collection[str]


def fine_tune(tunings: Sequence[Tuning]) -> list[tuple[Stage | None, str]]:
    """Fine-tune students of one teacher: on all workers if the plan says so, one after another.

    Else they are trained in this process, together, which gives each what it would become alone.

    Args:
        tunings: The students, with the same data and batches.

    Returns:
        Each student after its best epoch; None if the stage was skipped. And what happened, for the
        report.
    """
    pending = [tuning for tuning in tunings if tuning.settings.epochs]
    best = {id(each): found for each, found in zip(pending, _tune(pending), strict=True)}
    return [
        _tuned(tuning, best[id(tuning)])
        if id(tuning) in best
        else (None, "Fine-tuning was not asked for.")
        for tuning in tunings
    ]


def _tune(tunings: Sequence[Tuning]) -> list[BestState]:
    if not tunings:
        return []
    ctx = tunings[0].ctx
    if workers := ctx.planned.sharing.get(FINE_TUNING):
        return [
            tune_on_workers(each.ctx, each.student, each.before.validation, each.accepted, workers)
            for each in tunings
        ]
    task = ctx.task
    trainings = [
        NetworkTraining(
            each.student, each.settings, _hooks(each.ctx, each.settings, each.before.validation)
        )
        for each in tunings
    ]
    return train_together(trainings, task.data, task.teacher.normalization, teacher=task.feeding)


def _tuned(tuning: Tuning, best: BestState) -> tuple[Stage, str]:
    before, settings = tuning.before.validation, tuning.settings
    note = (
        f"Fine-tuning took {_score_name(tuning.ctx.task)} from {100 * before:.2f} to"
        f" {100 * best.score:.2f} %.{_lowered(settings, best)}"
    )
    unhelpful = _UNHELPFUL if best.score <= before else ""
    return Stage(copy_state(tuning.student), best.score), note + unhelpful


def _lowered(settings: TrainingSettings, best: BestState) -> str:
    if best.rate == 1:
        return ""
    rate = settings.optimisation.lr * best.rate
    return f" It exploded at first: its learning rate was lowered to {rate:g}."


def _score_name(task: DistillationTask) -> str:
    return f"the {task.data.score_name} on {len(task.data.validation):,} validation images"


def _hooks(ctx: RunContext, settings: TrainingSettings, initial_score: float) -> TrainingHooks:
    """Report fine-tuning as events, and keep checkpoints in the run folder."""
    events = TrainingEvents(
        emit=ctx.log.emit,
        phase=FINE_TUNING,
        network=STUDENT,
        epochs=settings.epochs,
        images=min(settings.batch_size, len(ctx.task.data.train)),
    )
    store = checkpoint_store(ctx.folder, FINE_TUNING, STUDENT, writer="host")
    return TrainingHooks(
        events.epoch_finished,
        store,
        True,
        events.start_pace,
        initial_score,
        events.rate_lowered,
    )
