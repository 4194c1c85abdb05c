"""What the whole student loses, beside what it may lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.wishes import Wish
from pbkd.pipeline.paired_scores import paired_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pbkd.config.schema import TargetConfig
    from pbkd.core.scores import PairedChange
    from pbkd.pipeline.refine import Stage
    from pbkd.training.task import DistillationTask


__all__ = ["drop_wishes", "why_not_tuned"]


def drop_wishes(
    target: TargetConfig, task: DistillationTask, classes: Mapping[str, Tensor]
) -> tuple[Wish, ...]:
    """Compare what the student loses on the test split with what it may lose.

    Args:
        target: The target.
        task: Teacher and data.
        classes: The classes of `teacher` and `student`, int64 (len(test),) each.

    Returns:
        A wish if the target limits the loss. It is kept if the upper end of the 95 % interval is
        within it.
    """
    if target.max_drop is None:
        return ()
    change = paired_change(classes, task.data.test.labels)
    is_met = _most(change) <= target.max_drop
    what = f"{_loss(change)} on {change.images:,} test images"
    return (Wish("target.max_drop", target.max_drop, -100 * change.difference, is_met, what),)


def why_not_tuned(task: DistillationTask, stage: Stage, max_drop: float | None) -> str | None:
    """Say why a student needs no fine-tuning, if it loses little enough on the validation split.

    Args:
        task: Teacher and data.
        stage: The student, with its classes of the validation images.
        max_drop: The points that it may lose; None for no limit.

    Returns:
        A note for the report; None if the student is to be fine-tuned.
    """
    if max_drop is None or stage.classes is None:
        return None
    validation = task.data.validation
    teacher = task.predict(task.teacher.network, validation)
    change = paired_change({"teacher": teacher, "student": stage.classes}, validation.labels)
    if _most(change) > max_drop:
        return None
    return (
        f"The student needs no fine-tuning: it {_loss(change)} on {change.images:,} validation"
        " images."
    )


def _most(change: PairedChange) -> float:
    """Return the points that are lost at most, at 95 % confidence."""
    return -100 * change.interval[0]


def _loss(change: PairedChange) -> str:
    low, high = (-100 * end for end in reversed(change.interval))
    return f"lost {-100 * change.difference:.2f} points (95 %: {low:.2f} to {high:.2f})"
