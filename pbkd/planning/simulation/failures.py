"""Devices that fail: what is lost since the last checkpoint, and the restart of all workers."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from pbkd.errors import ScheduleError

if TYPE_CHECKING:
    from pbkd.planning.cluster import Failures


__all__ = ["disturbed"]

_RUNS = 100
_MOST_PER_INTERVAL = 3.0  # failures between two checkpoints; with more, a run hardly gets on


def disturbed(
    seconds: float, interval: float, devices: int, failures: Failures
) -> tuple[float, float]:
    """Return the seconds of a run, and its failures: the mean of 100 runs, drawn from the seed.

    `seconds` is what it takes undisturbed, `interval` what lies between two checkpoints. When a
    device fails, all workers restart and go on from the last checkpoint. Raises `ScheduleError`
    where so many fail that the run would hardly ever end.
    """
    rate = devices * failures.per_device_hour / 3600
    if not rate:
        return seconds, 0.0
    span = min(seconds, interval) + failures.restart_seconds
    if rate * span > _MOST_PER_INTERVAL:
        raise ScheduleError(
            f"it would hardly ever end: a device fails every {1 / rate:,.0f} s, and from one"
            f" checkpoint to the next takes {span:,.0f} s, with a restart."
        )
    drawn = random.Random(failures.seed)
    runs = [_run(seconds, interval, rate, failures.restart_seconds, drawn) for _ in range(_RUNS)]
    took, failed = zip(*runs, strict=True)
    return sum(took) / _RUNS, sum(failed) / _RUNS


def _run(
    seconds: float, interval: float, rate: float, restart: float, drawn: random.Random
) -> tuple[float, int]:
    """Return what one run takes, and how often it fails; a restart may fail, too."""
    clock, kept, failed = 0.0, 0.0, 0
    while True:
        gap = drawn.expovariate(rate)
        starting = restart if failed else 0.0
        if gap >= starting + seconds - kept:
            return clock + starting + seconds - kept, failed
        clock += gap
        failed += 1
        kept = max(kept, math.floor((kept + gap - starting) / interval) * interval)
