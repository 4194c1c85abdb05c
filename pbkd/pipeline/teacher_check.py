"""The check that the teacher is better than chance, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.core.events import TeacherScored
from pbkd.core.intervals import wilson_interval
from pbkd.errors import TeacherError
from pbkd.models.accuracy import share_correct
from pbkd.pipeline.chance_causes import Predictions, better_order, find_cause

if TYPE_CHECKING:
    from pbkd.pipeline.chance_causes import Cause
    from pbkd.training.task import DistillationTask


__all__ = ["TeacherDoubt", "check_teacher", "doubt_teacher", "score_teacher"]

_LEAST_SKILL = 0.1
_FEWEST_IMAGES = 25  # for a stop
_CHECKS = (
    "check the order of its classes, the normalisation (mean and std), the order of the channels"
    " and the weights"
)


@dataclass(frozen=True)
class TeacherDoubt:
    """Why a teacher is thought to be wrong.

    Attributes:
        text: The reason, a sentence.
        stops: Whether nothing should be trained.
    """

    text: str
    stops: bool


def score_teacher(task: DistillationTask) -> TeacherScored:
    """Score the teacher on a sample of the test split, if that has labels."""
    split, classes = task.sample if task.data.labelled else (task.data.test, None)
    return TeacherScored(
        name=task.teacher.name,
        images=len(split),
        accuracy=None if classes is None else share_correct(classes, split),
        cut=task.partitioner["name"],
    )


def check_teacher(task: DistillationTask, *, allow_chance: bool) -> tuple[str, ...]:
    """Stop if the teacher is hardly better than chance.

    Args:
        task: Teacher and data.
        allow_chance: Whether to return the reason instead.

    Returns:
        Remarks for the user, a sentence each.

    Raises:
        TeacherError: If the teacher is hardly better than chance on both splits.
    """
    doubt = doubt_teacher(task)
    if doubt is None:
        return ()
    if doubt.stops and not allow_chance:
        raise TeacherError(doubt.text)
    return (doubt.text[0].upper() + doubt.text[1:],)


def doubt_teacher(task: DistillationTask) -> TeacherDoubt | None:
    """Compare the teacher with chance, unless there are no labels or its weights are `random`.

    Chance is the accuracy expected of the same predictions in random order: the sum over the
    classes of the share of labels times the share of predictions, as in J. Cohen, A coefficient of
    agreement for nominal scales, Educational and Psychological Measurement 20 (1960). A teacher is
    hardly better if even the upper end of its accuracy's 95 % interval is less than a tenth of the
    way from chance to 1; with few images that cannot be known. A better one is doubted if another
    order of the classes would be right on many more images.

    Args:
        task: Teacher and data.

    Returns:
        The doubt, which stops a run only if the teacher is near chance on the validation images
        too; None without one.
    """
    if not task.data.labelled or task.teacher.weights == "random":
        return None
    test = _test_predictions(task)
    said = (
        f"the teacher '{task.teacher.name}' is right on {_percent(test.accuracy)} of"
        f" {test.images:,} test images"
    )
    if _is_near_chance(test):
        by_chance = f", where chance is right on {_percent(chance(test))}"
        return _doubt_near_chance(task, test, said + by_chance)
    cause = better_order(test)
    return TeacherDoubt(f"{said}{_would_be(cause)}.", stops=False) if cause else None


def _test_predictions(task: DistillationTask) -> Predictions:
    """Return the teacher's predictions for a sample, or, if it leaves doubts, for all images."""
    split, classes = task.sample
    some = Predictions(classes, split.labels)
    surely, _ = wilson_interval(some.correct, some.images)
    if surely > _limit(some):
        return some
    return Predictions(task.teacher_classes, task.data.test.labels)


def _doubt_near_chance(task: DistillationTask, test: Predictions, said: str) -> TeacherDoubt:
    """Look at the validation images too, and for the cause."""
    split = task.data.validation
    validation = Predictions(task.predict(task.teacher.network, split), split.labels)
    surely, _ = wilson_interval(validation.correct, validation.images)
    if surely > _limit(validation):
        right = f"{_percent(validation.accuracy)} of {validation.images:,} validation images"
        text = f"{said}, but on {right}: check that both splits are of one kind."
        return TeacherDoubt(text, stops=False)
    is_enough = min(test.images, validation.images) >= _FEWEST_IMAGES
    stops = is_enough and _is_near_chance(validation)
    cause = find_cause(task, test, validation, wanted=max(_limit(test), _limit(validation)))
    reason = _would_be(cause) if cause else f": {_CHECKS}"
    go_on = ", or give allow_chance=true to go on all the same" if stops else ""
    return TeacherDoubt(f"{said}{reason}{go_on}.", stops)


def _would_be(cause: Cause) -> str:
    return f", but {cause.what} it would be right on {_percent(cause.accuracy)}: {cause.cure}"


def chance(predictions: Predictions) -> float:
    """Compute the accuracy expected of the same predictions in random order, in [0, 1]."""
    classes = int(torch.stack((predictions.predicted, predictions.labels)).max()) + 1
    counts = (
        torch.bincount(tensor, minlength=classes).double()
        for tensor in (predictions.predicted, predictions.labels)
    )
    shares = [count / predictions.images for count in counts]
    return float(shares[0] @ shares[1])


def _limit(predictions: Predictions) -> float:
    by_chance = chance(predictions)
    return by_chance + _LEAST_SKILL * (1 - by_chance)


def _is_near_chance(predictions: Predictions) -> bool:
    _, high = wilson_interval(predictions.correct, predictions.images)
    return high < _limit(predictions)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
