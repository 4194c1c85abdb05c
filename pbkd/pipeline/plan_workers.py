"""The plan for one group of workers: measured costs, schedule, predicted seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_name, candidate_of, sum_costs
from pbkd.core.process import thread_count
from pbkd.planning.plan import Plan, PlannedBlock
from pbkd.planning.profiling import measure_costs
from pbkd.planning.scheduler_choice import cache_name, cache_obstacle, choose_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.models.replacement import Proposal
    from pbkd.pipeline.strategies import Strategies
    from pbkd.planning.plan import Workload
    from pbkd.protocols import Loss
    from pbkd.training.task import DistillationTask


__all__ = ["plan_for_workers", "seconds_with_start"]

_START_SECONDS = 5.0  # of several workers, in both phases: import torch, load teacher and data


def plan_for_workers(
    workers: tuple[Worker, ...],
    strategies: Strategies,
    task: DistillationTask,
    proposals: Mapping[str, Proposal],
    workload: Workload,
    cache_limit: float,
) -> Plan:
    """Measure costs and choose the schedule that is predicted fastest.

    Args:
        workers: The workers to plan for.
        strategies: Schedulers, builders and loss.
        task: Teacher, data and chain.
        proposals: What the builders propose, by candidate.
        workload: Steps of the teacher-fed phase.
        cache_limit: The maximum size of the activation cache, in GB.

    Returns:
        The plan, without the seconds of forward passes.
    """
    replacements = {
        name: p.replacement for name, p in proposals.items() if p.replacement is not None
    }
    costs = _costs(task, replacements, strategies.loss, workers[0].threads)
    trained = list({proposals[name].block.name: proposals[name].block for name in costs}.values())
    obstacle = cache_obstacle(cache_limit, task, trained, workers)
    together = sum_costs(list(costs.values()))
    choice = choose_schedule(strategies.schedulers, together, workers, workload, obstacle=obstacle)
    cached = choice.schedule.feed == "cache"
    return Plan(
        blocks=_planned_blocks(strategies, proposals, costs),
        workers=workers,
        schedule=choice.schedule,
        workload=workload,
        seconds=choice.seconds,
        scheduler=choice.scheduler,
        why=choice.why,
        cache=cache_name(task, trained) if cached else None,
    )


def seconds_with_start(plan: Plan) -> float:
    """Predicted seconds, with those that several workers take to start."""
    return plan.seconds + (_START_SECONDS if len(plan.workers) > 1 else 0.0)


def _costs(
    task: DistillationTask, replacements: Mapping[str, nn.Module], loss: Loss, threads: int
) -> dict[str, BlockCost]:
    """Measure all candidates, one builder's at a time; return them in the order of the blocks."""
    by_builder: dict[int, dict[str, nn.Module]] = {}
    for name, replacement in replacements.items():
        block, index = candidate_of(name)
        by_builder.setdefault(index, {})[block] = replacement
    costs: dict[str, BlockCost] = {}
    images = task.images.to(task.dtype)
    with thread_count(threads):
        for index, modules in by_builder.items():
            measured = measure_costs(task.feeding, modules, images, loss, dtype=task.dtype)
            costs |= {candidate_name(cost.name, index): cost for cost in measured}
    return {name: costs[name] for name in replacements if name in costs}


def _planned_blocks(
    strategies: Strategies, proposals: Mapping[str, Proposal], costs: Mapping[str, BlockCost]
) -> tuple[PlannedBlock, ...]:
    return tuple(
        PlannedBlock(
            name=name,
            builder=strategies.builder_choices[candidate_of(name)[1]],
            block=p.block,
            reason=p.reason,
            parameters_before=p.parameters_before,
            parameters_after=p.parameters_after,
            macs_before=p.macs_before,
            macs_after=p.macs_after,
            cost=costs.get(name),
        )
        for name, p in proposals.items()
    )
