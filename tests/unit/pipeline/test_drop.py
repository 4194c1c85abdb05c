from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from pbkd.config.schema import TargetConfig
from pbkd.pipeline.drop import drop_wishes, why_not_tuned
from pbkd.pipeline.refine import Stage

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.training.task import DistillationTask

LABELS = torch.zeros(1000, dtype=torch.int64)


def wrong(count: int) -> Tensor:
    """Return classes of which so many are wrong."""
    return (torch.arange(1000) < count).long()


def task() -> DistillationTask:
    split = SimpleNamespace(labels=LABELS)
    data = SimpleNamespace(test=split, validation=split)
    found = SimpleNamespace(
        data=data, teacher=SimpleNamespace(network=None), predict=lambda _network, _split: wrong(50)
    )
    return cast("DistillationTask", found)


@pytest.mark.parametrize(("lost", "is_kept"), [(0, True), (5, True), (18, False), (30, False)])
def test_a_drop_is_kept_if_its_interval_is(lost: int, is_kept: bool) -> None:
    classes = {"teacher": wrong(50), "student": wrong(50 + lost)}
    (wish,) = drop_wishes(TargetConfig(max_drop=2.0), task(), classes)
    assert (wish.key, wish.wanted, wish.is_met) == ("target.max_drop", 2.0, is_kept)
    assert wish.reached == pytest.approx(lost / 10)
    stage = Stage({}, 0.9, classes["student"])
    assert (why_not_tuned(task(), stage, 2.0) is not None) == is_kept
    assert why_not_tuned(task(), stage, None) is None


def test_the_sentence_has_the_interval() -> None:
    classes = {"teacher": wrong(50), "student": wrong(68)}
    (wish,) = drop_wishes(TargetConfig(max_drop=2.0), task(), classes)
    assert wish.sentence.startswith(
        "target.max_drop=2 is not kept: the student lost 1.80 points (95 %: "
    )
    assert wish.sentence.endswith(" on 1,000 test images.")
    assert drop_wishes(TargetConfig(), task(), classes) == ()
