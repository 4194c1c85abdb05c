"""How much the workers of one machine slow each other down, by what they share of its memory."""

from __future__ import annotations

import math
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.core.blocks import BlockCost


__all__ = ["slowdown", "slowed_down"]

_ROUNDS, _SECONDS = 3, 0.02


def slowdown(work: Callable[[], object], count: int) -> float:
    """Measure how many times as long some work takes while `count` threads do it at once.

    Args:
        work: The work, which holds Python's lock for a small part of its time; it is repeated until
            it takes 0.02 s.
        count: Number of threads, at most one per core.

    Returns:
        The median over three rounds, at least 1.
    """
    barrier = threading.Barrier(count)
    repeats = max(1, math.ceil(_SECONDS / max(_timed(work, 1), 1e-6)))

    def beside_others(_index: int) -> float:
        barrier.wait()
        return _timed(work, repeats)

    ratios = []
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(beside_others, range(count)))  # warm-up
        for _ in range(_ROUNDS):
            alone = _timed(work, repeats)
            ratios.append(statistics.mean(pool.map(beside_others, range(count))) / alone)
    return max(1.0, statistics.median(ratios))


def slowed_down(cost: BlockCost, factor: float) -> BlockCost:
    """Return a cost whose seconds are `factor` times as many."""
    return replace(
        cost,
        prefix_seconds=factor * cost.prefix_seconds,
        teacher_seconds=factor * cost.teacher_seconds,
        train_seconds=factor * cost.train_seconds,
        overhead_seconds=factor * cost.overhead_seconds,
        read_seconds=factor * cost.read_seconds,
    )


def _timed(work: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - start
