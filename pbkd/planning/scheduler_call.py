"""The call of a scheduler, and the check of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import check_schedule
from pbkd.plugin.signatures import accepts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule, Worker
    from pbkd.core.workload import Workload
    from pbkd.protocols import Scheduler


__all__ = ["ask_scheduler"]


def ask_scheduler(
    scheduler: Scheduler,
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload,
) -> Schedule:
    """Ask a scheduler for a schedule, and check it.

    Args:
        scheduler: The scheduler; what it raises is passed on.
        costs: Costs per step, in the order of the chain.
        workers: The workers, ordered by rank.
        workload: The training steps, for a scheduler whose signature asks for them.

    Returns:
        The schedule, which is valid.

    Raises:
        ScheduleError: If it is invalid.
    """
    more = {"workload": workload} if accepts(scheduler.schedule, "workload") else {}
    # Tuples: a scheduler cannot change what the next one is asked.
    schedule = scheduler.schedule(tuple(costs), tuple(workers), **more)
    check_schedule(schedule, costs, len(workers))
    return schedule
