"""Greedy load balancing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 1


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
        loads = [0.0 for _ in workers]
        for cost in reversed(costs):
            teacher = cost.prefix_seconds + cost.teacher_seconds
            after = [
                load + (cost.train_seconds + (0.0 if blocks else teacher)) / worker.speed
                for load, blocks, worker in zip(loads, assigned, workers, strict=True)
            ]
            best = after.index(min(after))
            assigned[best].insert(0, cost.name)
            loads[best] = after[best]
        return Schedule(tuple((Job(tuple(blocks)),) if blocks else () for blocks in assigned))


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `greedy`."""
    return [Greedy]
