from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pbkd_soft_target import SoftTarget, register_losses
from torch.nn import functional

from pbkd.errors import ConfigError
from pbkd.protocols import LossContext
from pbkd.testing import apply_loss, check_loss

STUDENT, TEACHER = torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
LABELS = torch.tensor([1, 0])


def context(labels: torch.Tensor | None = LABELS) -> LossContext:
    return LossContext(input=STUDENT, index=0, block="", epoch=0, labels=labels)


@pytest.mark.parametrize(
    "loss", [SoftTarget(), SoftTarget(soft_weight=1.0), SoftTarget(temperature=1.0)]
)
def test_it_keeps_the_contract(loss: SoftTarget) -> None:
    check_loss(loss)


def test_it_is_the_weighted_sum_of_soft_targets_and_cross_entropy() -> None:
    soft = 0.0
    for student, teacher in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        p, q = (1 / (1 + math.exp((logits[1] - logits[0]) / 2)) for logits in (teacher, student))
        soft += 4 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) / 2
    hard = functional.cross_entropy(STUDENT, LABELS).item()
    found = apply_loss(SoftTarget(2.0, 0.75), STUDENT, TEACHER, context())
    assert found.item() == pytest.approx(0.75 * soft + 0.25 * hard, rel=1e-5)


def test_without_labels_it_is_the_soft_targets_alone() -> None:
    without = apply_loss(SoftTarget(2.0, 0.5), STUDENT, TEACHER, context(None))
    assert without == apply_loss(SoftTarget(2.0, 1.0), STUDENT, TEACHER, context())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0, but must be above 0 and finite."),
        ({"temperature": math.inf}, "temperature is inf, but must be above 0 and finite."),
        ({"temperature": math.nan}, "temperature is nan, but must be above 0 and finite."),
        ({"soft_weight": -0.1}, "soft_weight is -0.1, but must be between 0 and 1."),
        ({"soft_weight": 1.1}, "soft_weight is 1.1, but must be between 0 and 1."),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SoftTarget(**options)
    assert str(caught.value) == message


def test_it_is_registered() -> None:
    assert register_losses() == [SoftTarget]
