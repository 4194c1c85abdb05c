"""Refinement of the assembled student: recalibration and fine-tuning."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.events import EpochDone, JobStarted
from pbkd.runs.progress import checkpoint_store
from pbkd.training.finetune import TrainingHooks, train_network
from pbkd.training.recalibration import recalibrate
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pbkd.core.events import Emit
    from pbkd.pipeline.context import RunContext
    from pbkd.training.finetune import TrainingSettings
    from pbkd.training.task import DistillationTask
    from pbkd.training.throughput import Pace


__all__ = ["SKIPPED", "Stage", "copy_state", "fine_tune", "recalibrate_student"]


@dataclass(frozen=True)
class Stage:
    """The student after a stage.

    Attributes:
        state: Its parameters and buffers; None if the stage was skipped.
        notes: What happened, a sentence each.
    """

    state: dict[str, Tensor] | None
    notes: tuple[str, ...]


SKIPPED = Stage(None, ())


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's parameters and buffers."""
    return copy.deepcopy(network.state_dict())


def recalibrate_student(
    task: DistillationTask, student: nn.Module, count: int, batch_size: int
) -> Stage:
    """Recalibrate BatchNorm; restore the old statistics unless the validation score improves.

    Args:
        task: Teacher and data.
        student: The student; changed in place.
        count: Number of batches; 0 to skip the stage.
        batch_size: Images per batch.

    Returns:
        The recalibrated state, also if it was not kept.
    """
    if not count:
        return Stage(None, ("Recalibration was not asked for.",))
    validation = task.data.validation
    before, state = task.score(student, validation), copy_state(student)
    recalibrate(student, task, count, batch_size)
    after, recalibrated = task.score(student, validation), copy_state(student)
    is_better = after > before
    if not is_better:
        student.load_state_dict(state)
    note = (
        f"Recalibration took validation {task.data.score_name} from {100 * before:.2f} to"
        f" {100 * after:.2f} % and was {'kept' if is_better else 'not kept'}."
    )
    return Stage(recalibrated, (note,))


def fine_tune(ctx: RunContext, student: nn.Module, settings: TrainingSettings) -> Stage:
    """Fine-tune the student on labels and the teacher's soft targets.

    Args:
        ctx: The run.
        student: The student; changed in place.
        settings: Hyperparameters; no epochs to skip the stage.

    Returns:
        The state after the best epoch.
    """
    if not settings.epochs:
        return Stage(None, ("Fine-tuning was not asked for.",))
    task = ctx.task
    before = task.score(student, task.data.validation)
    after = train_network(
        student,
        task.data,
        task.teacher.normalization,
        settings,
        teacher=task.feeding,
        hooks=_hooks(ctx, settings),
    )
    note = (
        f"Fine-tuning took validation {task.data.score_name} from {100 * before:.2f} to"
        f" {100 * after:.2f} %."
    )
    return Stage(copy_state(student), (note,))


def _hooks(ctx: RunContext, settings: TrainingSettings) -> TrainingHooks:
    """Report fine-tuning as events, and keep checkpoints in the run folder."""
    emit: Emit = ctx.log.emit
    images = min(settings.batch_size, len(ctx.task.data.train))

    def start_pace(begun: int, steps: int) -> Pace:
        job = JobStarted(
            worker=None,
            phase="fine-tuning",
            blocks=("student",),
            begun=begun,
            epochs=settings.epochs,
            steps=steps,
            images=images,
        )
        return begin_job(job, emit)

    def epoch_finished(epoch: int, loss: float, score: float) -> None:
        event = EpochDone(
            worker=None,
            phase="fine-tuning",
            block="student",
            epoch=epoch + 1,
            loss=loss,
            accuracy=score,
        )
        emit(event)

    store = checkpoint_store(ctx.folder, "fine-tuning", "student", writer="host")
    return TrainingHooks(epoch_finished, store, start_pace)
