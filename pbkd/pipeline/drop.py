"""What the whole student loses, beside what it may lose."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from pbkd.core.intervals import wilson_interval
from pbkd.core.wishes import Wish
from pbkd.models.paired_scores import paired_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pbkd.config.schema import TargetConfig
    from pbkd.core.intervals import Interval
    from pbkd.core.scores import PairedChange
    from pbkd.training.task import DistillationTask


__all__ = [
    "drop_wishes",
    "is_beyond",
    "is_kept",
    "knows_validation",
    "knows_validation_note",
    "loss_sentence",
    "score_to_beat",
    "validation_change",
    "validation_limit",
]

_KNOWN = 2  # times as many points are lost on new images, see docs/results.md


def validation_change(task: DistillationTask, classes: Tensor) -> PairedChange:
    """Compare a student with its teacher on the validation split.

    Args:
        task: Teacher and data.
        classes: The student's classes of the validation images, int64 (images,).
    """
    pair = {"teacher": task.validation_classes, "student": classes}
    return paired_change(pair, task.data.validation.labels)


def knows_validation(task: DistillationTask) -> bool:
    """Return whether the teacher was probably trained on the validation images.

    It is if it is right on surely more of them than of the test images: the 95 % intervals of its
    accuracy do not overlap.
    """
    if not task.data.labelled:
        return False
    test, classes = task.sample
    known, _ = _interval(task.validation_classes, task.data.validation.labels)
    _, new = _interval(classes, test.labels)
    return known > new


def _interval(classes: Tensor, labels: Tensor) -> Interval:
    return wilson_interval(int((classes == labels).sum()), len(labels))


def knows_validation_note() -> str:
    """Say what follows from that for a target on the loss."""
    return (
        "The teacher is right on more of the validation images than of the test images: it was"
        " probably trained on them, so that they show less of what the student loses. Fine-tuning"
        f" goes on until no more than 1/{_KNOWN} of target.max_drop is lost on them."
    )


def validation_limit(task: DistillationTask, max_drop: float) -> float:
    """Return how many points may be lost on the validation images, for a limit on new images."""
    return max_drop / _KNOWN if knows_validation(task) else max_drop


def score_to_beat(task: DistillationTask, score: float) -> float:
    """Return the validation score that fine-tuning has to reach to be kept.

    Where the teacher was trained on these images, a student that has hardly been trained itself
    remembers them with its weights: then the same score is enough, within the standard error of a
    difference.

    Args:
        task: Teacher and data.
        score: The student's score before it.
    """
    if not knows_validation(task):
        return score
    return score - sqrt(2 * score * (1 - score) / len(task.data.validation.labels))


def is_kept(change: PairedChange, max_drop: float) -> bool:
    """Return whether at most `max_drop` points are lost, at 95 % confidence."""
    return -100 * change.interval[0] <= max_drop


def is_beyond(change: PairedChange, max_drop: float) -> bool:
    """Return whether more than `max_drop` points are lost, at 95 % confidence."""
    return -100 * change.interval[1] > max_drop


def loss_sentence(change: PairedChange, split: str) -> str:
    """Say what a student lost on the images of a split, with the interval."""
    low, high = (-100 * end for end in reversed(change.interval))
    lost = f"lost {0 - 100 * change.difference:.2f} points (95 %: {low:.2f} to {high:.2f})"
    return f"{lost} on {change.images:,} {split} images"


def drop_wishes(
    target: TargetConfig,
    task: DistillationTask,
    classes: Mapping[str, Tensor],
    validation: Tensor | None = None,
) -> tuple[Wish, ...]:
    """Compare what the student loses on the test split with what it may lose.

    Args:
        target: The target.
        task: Teacher and data.
        classes: The classes of `teacher` and `student`, int64 (len(test),) each.
        validation: The student's classes of the validation images, by which its training ended.

    Returns:
        A wish if the target limits the loss. It is kept if the upper end of the 95 % interval is
        within it.
    """
    if target.max_drop is None:
        return ()
    change = paired_change(classes, task.data.test.labels)
    is_met, advice = is_kept(change, target.max_drop), ""
    is_open = not is_met and not is_beyond(change, target.max_drop)
    if is_open:
        advice = _precision(change)
    if not is_met and validation is not None:
        known = validation_change(task, validation)
        if is_kept(known, validation_limit(task, target.max_drop)):
            advice += (
                f" On {known.images:,} validation images it was kept, so that the student was"
                " trained no further: a lower target.max_drop trains it longer."
            )
    what = loss_sentence(change, "test")
    reached = -100 * change.difference
    return (Wish("target.max_drop", target.max_drop, reached, is_met, what, is_open, advice),)


def _precision(change: PairedChange) -> str:
    half = 50 * (change.interval[1] - change.interval[0])
    return f" {change.images:,} images tell a loss only to within {half:.2f} points."
