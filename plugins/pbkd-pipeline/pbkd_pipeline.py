"""Neighbouring blocks to neighbouring workers: the exact best relay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pbkd import Job, Schedule, hookimpl
from pbkd.makespan import stage_load, stage_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 1


@dataclass(frozen=True)
class Pipeline:
    """Cut the chain into spans that workers relay, so that the slowest span is as fast as can be.

    Exact, by dynamic programming over measured costs, transfers included: over all ways to cut
    the chain into spans, to give each span one worker or several that share its batches, and to
    leave workers idle, in the order of ranks. Teacher relay and shared batches are Pipe-BD's
    (Jang et al., DATE 2023, arXiv 2301.12443), which searches exhaustively.
    """

    name: ClassVar[str] = "pipeline"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Return the relay with the least seconds per step in its slowest stage."""
        blocks, crew = len(costs), len(workers)
        loads = _loads(costs)
        # best[b, w]: the slowest stage of the best relay of the first b blocks over the first w
        # workers; choice[b, w]: the first block and the replicas of its last stage, or (b, 0)
        # where worker w - 1 is idle.
        best = np.full((blocks + 1, crew + 1), np.inf)
        best[0] = 0.0
        choice = {}
        for end in range(1, blocks + 1):
            for used in range(1, crew + 1):
                best[end, used], choice[end, used] = best[end, used - 1], (end, 0)
                for replicas in range(1, used + 1):
                    share = workers[used - replicas : used]
                    stage = stage_seconds(loads[end - 1], share)
                    slowest = np.maximum(best[:end, used - replicas], stage)
                    start = int(slowest.argmin())
                    if slowest[start] < best[end, used]:
                        best[end, used], choice[end, used] = slowest[start], (start, replicas)
        return _relay([cost.name for cost in costs], choice, crew)


def _loads(costs: Sequence[BlockCost]) -> list[tuple[Any, ...]]:
    """Return, for each last block, the loads of the stages that end there, by first block."""
    return [
        tuple(np.array([stage_load(costs, first, last) for first in range(last + 1)]).T)
        for last in range(len(costs))
    ]


def _relay(names: list[str], choice: dict[tuple[int, int], tuple[int, int]], crew: int) -> Schedule:
    """Follow the choices back from the whole chain and all workers."""
    assigned: list[tuple[Job, ...]] = [()] * crew
    end, used = len(names), crew
    while end:
        start, replicas = choice[end, used]
        for rank in range(used - replicas, used):
            assigned[rank] = (Job(tuple(names[start:end])),)
        end, used = start, used - max(replicas, 1)
    return Schedule(tuple(assigned), feed="relay")


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Hand over the scheduler `pipeline`."""
    return [Pipeline]
