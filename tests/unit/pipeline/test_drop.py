from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from pbkd.config.schema import TargetConfig
from pbkd.pipeline.drop import (
    drop_wishes,
    is_beyond,
    is_kept,
    knows_validation,
    score_to_beat,
    validation_change,
    validation_limit,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.training.task import DistillationTask

LABELS = torch.zeros(1000, dtype=torch.int64)


def wrong(count: int) -> Tensor:
    """Return classes of which so many are wrong."""
    return (torch.arange(1000) < count).long()


def task(known: int = 50, *, labelled: bool = True) -> DistillationTask:
    """Return a task whose teacher is wrong on 50 test images and `known` validation images."""
    split = SimpleNamespace(labels=LABELS)
    data = SimpleNamespace(test=split, validation=split, labelled=labelled)
    made = SimpleNamespace(data=data, validation_classes=wrong(known), sample=(split, wrong(50)))
    return cast("DistillationTask", made)


@pytest.mark.parametrize(("lost", "kept"), [(0, True), (5, True), (18, False), (30, False)])
def test_a_drop_is_kept_if_its_interval_is(lost: int, kept: bool) -> None:
    classes = {"teacher": wrong(50), "student": wrong(50 + lost)}
    (wish,) = drop_wishes(TargetConfig(max_drop=2.0), task(), classes)
    assert (wish.key, wish.wanted, wish.is_met) == ("target.max_drop", 2.0, kept)
    assert wish.reached == pytest.approx(lost / 10)
    change = validation_change(task(), classes["student"])
    assert is_kept(change, 2.0) == kept
    assert is_beyond(change, 2.0) == (lost == 30 and change.interval[1] < -0.02)


def test_the_sentence_says_what_the_images_can_tell() -> None:
    classes = {"teacher": wrong(50), "student": wrong(68)}
    (wish,) = drop_wishes(TargetConfig(max_drop=2.0), task(), classes)
    assert wish.sentence.startswith(
        "target.max_drop=2 is not certain to be kept: the student lost 1.80 points (95 %: "
    )
    assert wish.sentence.endswith(
        " on 1,000 test images. 1,000 images tell a loss only to within 0.85 points."
    )
    assert drop_wishes(TargetConfig(), task(), classes) == ()


def test_a_student_that_lost_less_on_the_validation_split_gets_advice() -> None:
    classes = {"teacher": wrong(50), "student": wrong(150)}
    sentences = [
        drop_wishes(TargetConfig(max_drop=2.0), task(), classes, validation)[0].sentence
        for validation in (wrong(150), wrong(51))
    ]
    assert sentences[0].startswith("target.max_drop=2 is not kept: the student lost 10.00 points")
    assert sentences[0].endswith(" test images.")
    assert sentences[1].endswith(
        " On 1,000 validation images it was kept, so that the student was trained no further: a"
        " lower target.max_drop trains it longer."
    )


def test_of_images_that_the_teacher_was_trained_on_fewer_may_be_lost() -> None:
    for new in (task(), task(40), task(60), task(1, labelled=False)):
        assert not knows_validation(new)
        assert validation_limit(new, 1.0) == 1.0
        assert score_to_beat(new, 0.9) == 0.9
    known = task(1)
    assert knows_validation(known)
    assert validation_limit(known, 1.0) == 0.5
    assert score_to_beat(known, 0.98) == pytest.approx(0.98 - (2 * 0.98 * 0.02 / 1000) ** 0.5)


def test_the_advice_rests_on_what_may_be_lost_of_the_validation_images() -> None:
    classes = {"teacher": wrong(50), "student": wrong(150)}
    target = TargetConfig(max_drop=2.0)
    sentences = [drop_wishes(target, task(1), classes, wrong(lost))[0].sentence for lost in (2, 14)]
    assert ["trained no further" in sentence for sentence in sentences] == [True, False]
