from __future__ import annotations

import math
from typing import Any

import pytest
from pbkd_lr_schedules import Cosine, Linear, register_lr_schedules

from pbkd.errors import ConfigError
from pbkd.testing import check_lr_schedule

SCHEDULES = [Cosine, Linear]


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
def test_they_keep_the_contract(kind: Any, warmup: float) -> None:
    check_lr_schedule(kind(warmup=warmup))


def factors(schedule: Cosine | Linear, steps: int) -> list[float]:
    return [schedule.factor(step, steps) for step in range(steps)]


def test_the_cosine_rises_for_a_twentieth_of_the_steps_and_falls_to_zero() -> None:
    found = factors(Cosine(), 100)
    assert found[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    middle = 5 + 95 * 2 / 3
    assert Cosine().factor(round(middle), 100) == pytest.approx(
        0.5 * (1 + math.cos(math.pi * (round(middle) - 5) / 95))
    )
    assert found[5:] == sorted(found[5:], reverse=True)
    assert found[-1] < 0.001


def test_the_line_falls_evenly_after_its_warm_up() -> None:
    assert factors(Linear(warmup=0.2), 10) == pytest.approx(
        [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    )


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_warm_up_is_a_share(kind: Any) -> None:
    for warmup in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match="must be a share between 0 and 1"):
            kind(warmup=warmup)


def test_they_are_registered() -> None:
    names = [schedule.name for schedule in register_lr_schedules()]  # type: ignore[attr-defined]
    assert names == ["cosine", "linear"]
