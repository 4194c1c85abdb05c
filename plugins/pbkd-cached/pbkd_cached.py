"""Load balancing of blocks that are fed from a cache of the teacher's activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbkd import BlockCost, Worker, Workload
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class Cached:
    """Assign each block, longest training first, to the worker with the least load afterwards.

    With every activation on disk, no block needs the teacher or another block. Where there can be
    no cache, every worker runs the teacher up to its last block.
    """

    name: ClassVar[str] = "cached"

    def schedule(
        self,
        costs: Sequence[BlockCost],
        workers: Sequence[Worker],
        workload: Workload | None = None,
    ) -> Schedule:
        """Balance the seconds of all that a worker does, divided by its speed.

        Args:
            costs: Measured costs of the blocks, in the order of the chain.
            workers: The workers, by rank.
            workload: The size of the cache; None for any.

        Returns:
            One job per worker that has blocks, with the feed `cache`, or `recompute` if the
            workload has no room for a cache.
        """
        cached = workload is None or workload.cache_bytes != 0
        cached = workload is None or workload.cache_bytes != 0
        order = {cost.name: index for index, cost in enumerate(costs)}
        assigned: list[list[str]] = [[] for _ in workers]
        speeds = np.array([worker.speed for worker in workers])
        training, teacher = np.zeros(len(workers)), np.zeros(len(workers))
        for cost in sorted(costs, key=_own_seconds(cached), reverse=True):
            trained = training + _own_seconds(cached)(cost) / speeds
            passed = teacher if cached else np.maximum(teacher, _teacher_seconds(cost) / speeds)
            best = int((trained + passed).argmin())
            assigned[best].append(cost.name)
            training[best], teacher[best] = trained[best], passed[best]
        jobs = [Job(tuple(sorted(blocks, key=order.__getitem__))) for blocks in assigned]
        each = tuple((job,) if job.blocks else () for job in jobs)
        return Schedule(each, feed="cache" if cached else "recompute")


def _own_seconds(cached: bool) -> Callable[[BlockCost], float]:
    """Return the function of the seconds that a block takes on any worker."""
    return lambda cost: cost.train_seconds + (cost.read_seconds if cached else 0.0)


def _teacher_seconds(cost: BlockCost) -> float:
    """Return the seconds of the teacher up to a block, which a worker spends once."""
    return cost.prefix_seconds + cost.teacher_seconds


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `cached`."""
    return [Cached]
