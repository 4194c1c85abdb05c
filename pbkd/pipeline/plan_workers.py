"""The plan for one group of workers: measured costs, schedule, predicted seconds."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch

from pbkd.core.blocks import candidate_name, candidate_of, sum_costs
from pbkd.core.process import thread_count
from pbkd.pipeline.proposals import planned_block
from pbkd.planning.contention import slowdown, slowed_down
from pbkd.planning.plan import Plan
from pbkd.planning.profiling import measure_costs
from pbkd.planning.scheduler_choice import cache_name, cache_obstacle, choose_schedule
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.learner import BlockMethod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.core.workload import Workload
    from pbkd.models.proposal import Proposal
    from pbkd.pipeline.strategies import Strategies
    from pbkd.planning.plan import PlannedBlock
    from pbkd.training.task import DistillationTask


__all__ = ["START_SECONDS", "fastest", "plan_for_workers", "seconds_with_start"]

T = TypeVar("T")

START_SECONDS = 2.5
"""Seconds that several workers take to start in a phase: import torch, load teacher and data."""


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
        strategies: Schedulers and loss.
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
    measured = _measure(task, replacements, strategies, workers)
    costs = measured.costs
    trained = list({proposals[name].block.name: proposals[name].block for name in costs}.values())
    obstacle = cache_obstacle(cache_limit, task, trained, workers)
    together = sum_costs(list(costs.values()))
    choice = choose_schedule(strategies.schedulers, together, workers, workload, obstacle=obstacle)
    cached = choice.schedule.feed == "cache"
    return Plan(
        blocks=_planned_blocks(proposals, measured),
        workers=workers,
        schedule=choice.schedule,
        workload=workload,
        seconds=choice.seconds,
        scheduler=choice.scheduler,
        why=choice.why,
        cache=cache_name(task, trained) if cached else None,
        segment_seconds=measured.segments,
    )


def seconds_with_start(plan: Plan) -> float:
    """Predicted seconds, with those that several workers take to start in both phases."""
    return plan.seconds + (2 * START_SECONDS if len(plan.workers) > 1 else 0.0)


class _Measured(NamedTuple):
    """Costs and forward seconds by candidate, and the teacher's forward seconds by segment."""

    costs: dict[str, BlockCost]
    forward: dict[str, float]
    segments: dict[str, float]


def _measure(
    task: DistillationTask,
    replacements: Mapping[str, nn.Module],
    strategies: Strategies,
    workers: Sequence[Worker],
) -> _Measured:
    """Measure all candidates, one builder's at a time; return them in the order of the blocks.

    Costs of training are those while all workers of this machine's processor are busy.
    """
    by_builder: dict[int, dict[str, nn.Module]] = {}
    for name, replacement in replacements.items():
        block, index = candidate_of(name)
        by_builder.setdefault(index, {})[block] = replacement
    costs: dict[str, BlockCost] = {}
    forward: dict[str, float] = {}
    segments: dict[str, float] = {}
    images = task.images.to(task.dtype)
    losses = apply_to_blocks(strategies.loss, task.chain, task.dtype)
    method = BlockMethod(losses, strategies.optimisation, task.dtype)
    with thread_count(workers[0].threads):
        factor = _busy_factor(task, workers)
        for index, modules in by_builder.items():
            measured = measure_costs(task.feeding, modules, images, method)
            costs |= {
                candidate_name(cost.name, index): slowed_down(cost, factor)
                for cost in measured.blocks
            }
            forward |= {
                candidate_name(name, index): seconds
                for name, seconds in measured.replacements.items()
            }
            segments = measured.segments
    return _Measured({name: costs[name] for name in replacements}, forward, segments)


def _busy_factor(task: DistillationTask, workers: Sequence[Worker]) -> float:
    """Measure by the teacher's pass how much workers on this machine's processor share."""
    here = [w for w in workers if w.device == "cpu" and w.node in ("", socket.gethostname())]
    count = min(len(here), (os.cpu_count() or 1) // workers[0].threads)
    if count < 2:
        return 1.0
    images = task.images.to(task.dtype)

    def work() -> None:
        with torch.no_grad():
            task.feeding(images)

    return slowdown(work, count)


def _planned_blocks(
    proposals: Mapping[str, Proposal], measured: _Measured
) -> tuple[PlannedBlock, ...]:
    return tuple(
        replace(
            planned_block(name, p),
            cost=measured.costs.get(name),
            forward_seconds=measured.forward.get(name),
        )
        for name, p in proposals.items()
    )


def fastest(plans: Sequence[tuple[T, Plan]]) -> tuple[T, Plan]:
    """Return the fastest of some plans, each with its configuration; note why it was chosen.

    Args:
        plans: A plan for each number of workers.
    """
    chosen, plan = min(plans, key=lambda pair: seconds_with_start(pair[1]))
    if len(plans) > 1:
        tried = ", ".join(f"{len(p.workers)}: {seconds_with_start(p):.1f} s" for _, p in plans)
        plan = replace(plan, why=f"{plan.why}; workers=auto (with their start, {tried})")
    return chosen, plan
