"""Simulation of device failures, with restarts from the last checkpoint."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from pbkd.errors import ScheduleError

if TYPE_CHECKING:
    from pbkd.planning.cluster import Failures


__all__ = ["with_failures"]

_RUNS = 100
_MOST_PER_INTERVAL = 3.0  # failures between two checkpoints, beyond which a run hardly advances


def with_failures(
    seconds: float, interval: float, devices: int, failures: Failures
) -> tuple[float, float]:
    """Simulate the failures of a run.

    When a device fails, all workers restart from the last checkpoint.

    Args:
        seconds: Duration of the run without failures.
        interval: Seconds between two checkpoints.
        devices: Number of devices.
        failures: Failure rate, restart time and seed.

    Returns:
        The run's seconds and its number of failures, the means of 100 simulated runs.

    Raises:
        ScheduleError: If failures are so frequent that the run would hardly ever end.
    """
    rate = devices * failures.per_device_hour / 3600
    if not rate:
        return seconds, 0.0
    span = min(seconds, interval) + failures.restart_seconds
    if rate * span > _MOST_PER_INTERVAL:
        raise ScheduleError(
            f"the run would hardly ever end: a device fails every {1 / rate:,.0f} s, but a restart"
            f" and the steps between two checkpoints take {span:,.0f} s."
        )
    generator = random.Random(failures.seed)
    runs = [
        _run(seconds, interval, rate, failures.restart_seconds, generator) for _ in range(_RUNS)
    ]
    durations, counts = zip(*runs, strict=True)
    return sum(durations) / _RUNS, sum(counts) / _RUNS


def _run(
    seconds: float, interval: float, rate: float, restart: float, generator: random.Random
) -> tuple[float, int]:
    """Return the seconds and the failures of one run; a restart may fail, too."""
    clock, kept, failed = 0.0, 0.0, 0
    while True:
        gap = generator.expovariate(rate)
        starting = restart if failed else 0.0
        if gap >= starting + seconds - kept:
            return clock + starting + seconds - kept, failed
        clock += gap
        failed += 1
        kept = max(kept, math.floor((kept + gap - starting) / interval) * interval)
