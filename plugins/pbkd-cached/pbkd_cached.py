"""Load balancing of blocks that are fed from a cache of the teacher's activations."""

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
class Cached:
    """Assign each block, longest training first, to the worker with the least load afterwards.

    With every activation on disk, no block needs the teacher or another block.
    """

    name: ClassVar[str] = "cached"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Balance the seconds of training and reading, divided by each worker's speed.

        Args:
            costs: Measured costs of the blocks, in the order of the chain.
            workers: The workers, by rank.

        Returns:
            One job per worker that has blocks, with the feed `cache`.
        """
        order = {cost.name: index for index, cost in enumerate(costs)}
        assigned: list[list[str]] = [[] for _ in workers]
        speeds, loads = np.array([worker.speed for worker in workers]), np.zeros(len(workers))
        for cost in sorted(costs, key=_seconds, reverse=True):
            after = loads + _seconds(cost) / speeds
            best = int(after.argmin())
            assigned[best].append(cost.name)
            loads[best] = after[best]
        jobs = [Job(tuple(sorted(blocks, key=order.__getitem__))) for blocks in assigned]
        return Schedule(tuple((job,) if job.blocks else () for job in jobs), feed="cache")


def _seconds(cost: BlockCost) -> float:
    return cost.train_seconds + cost.read_seconds


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `cached`."""
    return [Cached]
