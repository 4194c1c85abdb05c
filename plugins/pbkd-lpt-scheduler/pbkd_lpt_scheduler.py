"""Longest processing time first (LPT), from one shared queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import Job, Schedule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import BlockCost, Worker
    from pbkd.protocols import Scheduler

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class LptScheduler:
    """Put each block into a shared queue as a job, longest first; a free worker takes the next.

    The makespan is at most 4/3 - 1/(3 workers) of the optimum for such jobs (Graham 1969,
    doi 10.1137/0117039). Workers that are slower than measured take fewer jobs.
    """

    name: ClassVar[str] = "lpt-scheduler"

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Sort by the seconds of the teacher's prefix, the block and its training.

        Args:
            costs: Measured costs of the blocks, in the order of the chain.
            workers: The workers, by rank.

        Returns:
            A schedule whose jobs are all shared.
        """
        longest_first = sorted(
            costs,
            key=lambda cost: cost.prefix_seconds + cost.teacher_seconds + cost.train_seconds,
            reverse=True,
        )
        queue = tuple(Job((cost.name,)) for cost in longest_first)
        return Schedule(assigned=tuple(() for _ in workers), shared=queue)


@hookimpl
def register_schedulers() -> list[type[Scheduler]]:
    """Register the scheduler `lpt-scheduler`."""
    return [LptScheduler]
