from __future__ import annotations

import math

import pytest

from pbkd.errors import ScheduleError
from pbkd.planning.cluster import Failures
from pbkd.planning.simulation.failures import with_failures


def test_without_failures_nothing_is_lost() -> None:
    assert with_failures(1000, 100, 64, Failures()) == (1000, 0)


def test_failures_cost_what_was_not_kept_and_the_restart() -> None:
    """In the mean of many runs, what the theory of checkpoints says."""
    restart, interval, rate = 20.0, 100.0, 8 * 0.9 / 3600
    seconds, failed = with_failures(20_000, interval, 8, Failures(0.9, restart))
    again = math.exp(rate * (interval + restart))  # tries of an interval with a restart before it
    expected = 200 * (1 - math.exp(-rate * interval)) * again / rate
    assert seconds == pytest.approx(expected, rel=0.02)
    assert failed == pytest.approx(rate * seconds, rel=0.05)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    first, again, other = (
        with_failures(5000, 100, 4, Failures(1.0, 30, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_more_devices_fail_more_often() -> None:
    few, many = (with_failures(10_000, 100, count, Failures(0.1)) for count in (4, 64))
    assert few[0] < many[0]
    assert few[1] < many[1]


def test_who_hardly_ever_reaches_a_checkpoint_is_told() -> None:
    with pytest.raises(
        ScheduleError, match="the run would hardly ever end: a device fails every 1 s"
    ):
        with_failures(1000, 100, 3600, Failures(1.0, 60))
