"""The schedule of the student-fed phase: one relay over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule, check_schedule

if TYPE_CHECKING:
    from collections.abc import Collection

    from pbkd.core.blocks import BlockCost
    from pbkd.planning.plan import Plan
    from pbkd.plugin.registry import Registry


__all__ = ["candidate_costs", "relay_schedule"]


def relay_schedule(registry: Registry, plan: Plan, names: Collection[str]) -> Schedule:
    """Schedule the training of candidates, one per block, as one relay over all workers.

    Args:
        registry: The plugins.
        plan: The plan with costs and workers.
        names: The candidates.
    """
    costs = candidate_costs(plan, names)
    if len(plan.workers) == 1:
        return Schedule(((Job(tuple(cost.name for cost in costs)),),))
    pipeline = registry.create("scheduler", {"name": "pipeline"})
    schedule: Schedule = pipeline.schedule(costs, plan.workers)
    check_schedule(schedule, costs, len(plan.workers))
    return schedule


def candidate_costs(plan: Plan, names: Collection[str]) -> list[BlockCost]:
    """Return the costs of some candidates, in the order of the chain."""
    return [p.cost for p in plan.trained if p.cost is not None and p.name in names]
