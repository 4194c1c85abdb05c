"""Greedy load balancing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class Greedy:
    """Assign each block, from the last to the first, to the worker with the least load afterwards.

    A worker's blocks are one job: its load is the teacher pass up to its last block plus the
    training of each. In this order a worker's first block determines its teacher pass.
    """

    name: ClassVar[str] = "greedy"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Balance the measured seconds, divided by each worker's speed.

        Args:
            costs: Measured costs of the blocks, in the order of the chain.
            workers: The workers, by rank.

        Returns:
            One job per worker that has blocks.
        """
        assigned: list[list[str]] = [[] for _ in workers]
        speeds = np.array([worker.speed for worker in workers])
        loads, idle = np.zeros(len(workers)), np.ones(len(workers), bool)
        for cost in reversed(costs):
            teacher = cost.prefix_seconds + cost.teacher_seconds
            after = loads + (cost.train_seconds + np.where(idle, teacher, 0.0)) / speeds
            best = int(after.argmin())
            assigned[best].append(cost.name)
            loads[best], idle[best] = after[best], False
        jobs = (tuple(reversed(blocks)) for blocks in assigned)
        return Schedule(tuple((Job(blocks),) if blocks else () for blocks in jobs))


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `greedy`."""
    return [Greedy]
