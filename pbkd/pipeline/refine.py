"""Recalibration of the assembled student, and its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.models.accuracy import share_correct
from pbkd.pipeline.scoring import predict_states
from pbkd.runs.assignment import RECALIBRATION
from pbkd.training.best_state import copy_state
from pbkd.training.recalibration import recalibrate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor, nn

    from pbkd.pipeline.context import RunContext
    from pbkd.training.task import DistillationTask


__all__ = ["Stage", "final_stage", "recalibrate_student", "score_name"]


@dataclass(frozen=True)
class Stage:
    """The student after a stage.

    Attributes:
        state: Its parameters and buffers.
        validation: Its score on the validation split.
        classes: Its classes of the validation images, int64 (images,).
    """

    state: Mapping[str, Tensor]
    validation: float
    classes: Tensor


def final_stage(stages: Mapping[str, Stage | None]) -> Stage:
    """Return the stage at which the student is; some are skipped.

    That is after fine-tuning, which leaves the student as it was if no epoch was better; else the
    stage with the best validation score, the first of equals.
    """
    if (tuned := stages.get("fine-tuned")) is not None:
        return tuned
    known = (stage for stage in stages.values() if stage is not None)
    return max(known, key=lambda stage: stage.validation)


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
        f"Recalibration took {score_name(ctx.task)} from"
        f" {100 * before.validation:.2f} to {100 * after.validation:.2f} % and was"
        f" {'kept' if is_better else 'not kept'}."
    )


def score_name(task: DistillationTask) -> str:
    """Name the score of the validation split, with its number of images."""
    return f"the {task.data.score_name} on {len(task.data.validation):,} validation images"
