"""A new split of the rest of a phase, once its costs have turned out to differ from the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.core.blocks import sum_costs
from pbkd.core.schedule import Job, Schedule
from pbkd.planning.cost_model import job_seconds, makespan
from pbkd.planning.scheduler_choice import choose_schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pbkd.core.blocks import BlockCost
    from pbkd.planning.plan import Plan
    from pbkd.planning.scheduler_choice import Choice
    from pbkd.protocols import Scheduler


__all__ = ["NewSplit", "split_rest"]


@dataclass(frozen=True, kw_only=True)
class NewSplit:
    """The rest of a phase, split anew.

    Attributes:
        choice: The new schedule, of the blocks that are not finished.
        old_seconds: Seconds of the rest with the old schedule.
        new_seconds: Seconds of the rest with the new one, and of the change.
    """

    choice: Choice
    old_seconds: float
    new_seconds: float


def split_rest(
    plan: Plan,
    schedulers: Mapping[str, Scheduler],
    epochs_left: Mapping[str, int],
    restart_seconds: float,
) -> NewSplit | None:
    """Schedule the rest of a phase.

    Args:
        plan: The plan with its old schedule and the costs to go by.
        schedulers: The schedulers to choose from, by name.
        epochs_left: The epochs that each candidate still has to train.
        restart_seconds: Seconds of the workers' start.

    Returns:
        The new schedule, which reads a cache only if the old one does; None if nothing is left.

    Raises:
        ScheduleError: If no scheduler gives a valid schedule.
    """
    most = max(epochs_left.values(), default=0)
    if not most:
        return None
    costs = _rest_costs(plan, epochs_left, most)
    steps = plan.workload.steps * most // (plan.workload.epochs or most)
    workload = replace(plan.workload, steps=steps, distinct_steps=0, epochs=most)
    old = _without(plan.schedule, {cost.name for cost in costs})
    cached = old.feed == "cache"
    obstacle = None if cached else "the run has begun without one"
    choice = choose_schedule(schedulers, costs, plan.workers, workload, obstacle=obstacle)
    change = restart_seconds
    if old.feed != "relay":  # the worker with the longest epoch is waited for
        slowest = min(worker.speed for worker in plan.workers)
        step = max(job_seconds(job, costs, teacher=not cached) for job in old.jobs)
        change += step / slowest * steps / most
    return NewSplit(
        choice=choice,
        old_seconds=makespan(old, costs, plan.workers, workload),
        new_seconds=makespan(choice.schedule, costs, plan.workers, workload) + change,
    )


def _rest_costs(plan: Plan, epochs_left: Mapping[str, int], most: int) -> list[BlockCost]:
    """Return the costs of unfinished blocks, as if all had equally many epochs left."""
    rest = []
    for planned in plan.trained:
        left = epochs_left.get(planned.name, 0)
        if planned.cost is not None and left:
            share = left / most
            cost = planned.cost
            rest.append(
                replace(
                    cost,
                    train_seconds=cost.train_seconds * share,
                    read_seconds=cost.read_seconds * share,
                    overhead_seconds=cost.overhead_seconds * share,
                )
            )
    return sum_costs(rest)


def _without(schedule: Schedule, blocks: Collection[str]) -> Schedule:
    """Leave only these blocks in a schedule."""

    def kept(jobs: tuple[Job, ...]) -> tuple[Job, ...]:
        rest = (Job(tuple(name for name in job.blocks if name in blocks)) for job in jobs)
        return tuple(job for job in rest if job.blocks)

    return Schedule(tuple(map(kept, schedule.assigned)), kept(schedule.shared), schedule.feed)
