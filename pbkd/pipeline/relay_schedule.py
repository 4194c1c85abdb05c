"""The schedule of the student-fed phase: one relay over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule
from pbkd.planning.scheduler_call import ask_scheduler

if TYPE_CHECKING:
    from collections.abc import Collection

    from pbkd.core.blocks import BlockCost
    from pbkd.core.workload import Workload
    from pbkd.planning.plan import Plan
    from pbkd.plugin.registry import Registry


__all__ = ["candidate_costs", "relay_schedule"]


def relay_schedule(
    registry: Registry, plan: Plan, names: Collection[str], workload: Workload
) -> Schedule:
    """Schedule the training of candidates, one per block, as one relay over all workers.

    Args:
        registry: The plugins.
        plan: The plan with costs and workers.
        names: The candidates.
        workload: The steps of the student-fed phase.
    """
    costs = candidate_costs(plan, names)
    if len(plan.workers) == 1:
        return Schedule(((Job(tuple(cost.name for cost in costs)),),))
    pipeline = registry.create("scheduler", {"name": "pipeline"})
    return ask_scheduler(pipeline, costs, plan.workers, workload)


def candidate_costs(plan: Plan, names: Collection[str]) -> list[BlockCost]:
    """Return the costs of some candidates, in the order of the chain."""
    return [p.cost for p in plan.trained if p.cost is not None and p.name in names]
