"""The schedule of the student-fed phase: one relay over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule
from pbkd.planning.scheduler_call import ask_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.core.workload import Workload
    from pbkd.protocols import Scheduler


__all__ = ["relay_schedule"]


def relay_schedule(
    pipeline: Callable[[], Scheduler],
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload,
) -> Schedule:
    """Schedule the training of blocks as one relay over all workers.

    Args:
        pipeline: Creates the scheduler `pipeline`.
        costs: Costs per step of the blocks, in the order of the chain.
        workers: The workers, ordered by rank.
        workload: The steps of the phase.
    """
    if len(workers) == 1:
        return Schedule(((Job(tuple(cost.name for cost in costs)),),))
    return ask_scheduler(pipeline(), costs, workers, workload)
