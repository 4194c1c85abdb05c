from __future__ import annotations

import math

import pytest
from pbkd_constant import Constant, register_lr_schedules

from pbkd.errors import ConfigError
from pbkd.testing import check_lr_schedule


@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
def test_it_keeps_the_contract(warmup: float) -> None:
    check_lr_schedule(Constant(warmup=warmup))


def test_it_stays_at_the_peak() -> None:
    assert [Constant().factor(step, 4) for step in range(4)] == [1.0] * 4
    assert [Constant(warmup=0.5).factor(step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("warmup", [-0.1, 1.1, math.nan])
def test_the_warm_up_is_a_share(warmup: float) -> None:
    with pytest.raises(ConfigError, match="must be a share between 0 and 1"):
        Constant(warmup=warmup)


def test_it_is_registered() -> None:
    assert [schedule.name for schedule in register_lr_schedules()] == ["constant"]
