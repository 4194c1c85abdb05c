from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pbkd_joint import Joint, register_losses

from pbkd.errors import ConfigError
from pbkd.protocols import LossContext
from pbkd.testing import apply_loss, check_loss
from pbkd.training import soft_target_loss

LOGITS, TARGET = torch.tensor([[1.0, 3.0], [2.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])
THEIRS = {"stage1": torch.tensor([[3.0, 4.0], [0.0, 1.0]]), "stage2": torch.ones(2, 3)}
MINE = {"stage1": torch.tensor([[3.0, 1.0], [2.0, 1.0]]), "stage2": torch.ones(2, 3)}


@pytest.mark.parametrize("loss", [Joint(), Joint(block_weight=0.0)])
def test_it_keeps_the_contract(loss: Joint) -> None:
    check_loss(loss)


def test_it_is_the_weighted_sum_of_the_blocks_errors_and_the_soft_targets() -> None:
    context = LossContext(
        input=LOGITS, index=0, block="", epoch=0, features=MINE, teacher_features=THEIRS
    )
    blocks = ((9 / 25 + 4 / 1) / 2 + 0) / 2
    soft = soft_target_loss(LOGITS, TARGET, 2.0).item()
    found = apply_loss(Joint(3.0, 0.25, 2.0), LOGITS, TARGET, context)
    assert found.item() == pytest.approx(3 * blocks + 0.25 * soft, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_weight": -1.0}, "block_weight is -1.0, but must be at least 0 and finite."),
        ({"soft_weight": math.inf}, "soft_weight is inf, but must be at least 0 and finite."),
        ({"block_weight": 0.0, "soft_weight": 0.0}, "are both 0: nothing would be learnt."),
        ({"temperature": 0.0}, "temperature is 0.0, but must be above 0 and finite."),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Joint(**options)


def test_it_is_registered() -> None:
    assert register_losses() == [Joint]
