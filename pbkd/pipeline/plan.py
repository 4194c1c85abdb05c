"""What a run decides before it trains: epochs, replacements, costs, the schedule."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_name, candidate_of, sum_costs
from pbkd.core.devices import pick_device
from pbkd.core.process import thread_count
from pbkd.data.batching import steps_per_epoch
from pbkd.data.load import with_preprocessing
from pbkd.errors import ConfigError
from pbkd.execution.workers import launcher_of, possible_workers
from pbkd.models.chain import blocks_of
from pbkd.models.replacement import builder_choices, builders_of, propose, replaceable
from pbkd.planning.budget import check_budget, check_candidates, forward_seconds
from pbkd.planning.cost_files import CostTable
from pbkd.planning.plan import Plan, PlannedBlock, Workload
from pbkd.planning.profiling import measure_costs
from pbkd.planning.scheduler_choice import cache_name, cache_obstacle, choose_schedule, schedulers
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.data.datasets import Dataset
    from pbkd.models.replacement import Proposal
    from pbkd.models.teacher import InMemoryInputs
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import BlockBuilder, Loss, Scheduler
    from pbkd.training.task import DistillationTask


__all__ = ["PlannedRun", "cost_table", "plan_run"]

_DISTILL_STEPS, _STUDENT_FED_STEPS, _FINETUNE_STEPS = 600, 300, 600
_START_SECONDS = 5.0  # of several workers, in both phases: import torch, load teacher and data


@dataclass(frozen=True)
class PlannedRun:
    """What is known before training: the resolved configuration, the plan, what it was made of."""

    config: RunConfig
    task: DistillationTask
    plan: Plan
    replacements: Mapping[str, nn.Module]
    given: InMemoryInputs | None = None


def plan_run(
    config: RunConfig, registry: Registry, given: InMemoryInputs | None = None
) -> PlannedRun:
    """Decide everything, train nothing: steps 4 to 7 of a run.

    `given` are a teacher, and maybe data, that a program has in memory.
    """
    check_candidates(config)
    known_schedulers = schedulers(config, registry)
    launcher = launcher_of(config, registry)
    builders = builders_of(config, registry)
    loss: Loss = registry.find("loss", config.distill.loss)
    device = pick_device(config.device)
    launcher_workers = getattr(launcher, "workers", None)
    groups = (
        [tuple(launcher_workers(config))] if launcher_workers else possible_workers(config, device)
    )
    first = groups[0][0]
    here = first.device if first.node in ("", socket.gethostname()) else device
    task = build_task(config, registry, here, given)
    config = replace(config, data=with_preprocessing(config.data, task.teacher.network))
    config = _with_epochs(config, task)
    proposals = _propose_all(config, builders, task)
    replacements = {
        name: p.replacement for name, p in proposals.items() if p.replacement is not None
    }
    if not replacements:
        reasons = "; ".join(f"{name}: {p.reason}" for name, p in proposals.items())
        raise ConfigError(f"there is nothing to replace ({reasons or 'all are in `keep`'}).")
    plans = [
        _plan(config, known_schedulers, task, proposals, costs, workers)
        for workers in groups
        for costs in [_costs(task, replacements, loss, workers[0].threads)]
    ]
    plan = min(plans, key=_seconds_with_start)
    if len(plans) > 1:
        tried = ", ".join(f"{len(p.workers)}: {_seconds_with_start(p):.1f} s" for p in plans)
        plan = replace(plan, why=f"{plan.why}; workers=auto (with their start, {tried})")
    config = replace(config, workers=len(plan.workers))
    plan = _with_forward_seconds(plan, config, task, replacements)
    check_budget(config, task, plan)
    return PlannedRun(config, task, plan, replacements, given)


def cost_table(planned_run: PlannedRun) -> CostTable:
    """Return what every block that is trained costs, its candidates together, and on what."""
    task, plan, worker = planned_run.task, planned_run.plan, planned_run.plan.workers[0]
    about = (
        f"{task.teacher.name} on {task.data.name}, batch {planned_run.config.batch_size},"
        f" measured on {worker.device} with {worker.threads} thread(s)"
    )
    costs = sum_costs([planned.cost for planned in plan.trained if planned.cost])
    return CostTable(about, tuple(costs), plan.workload)


def _seconds_with_start(plan: Plan) -> float:
    """Return the predicted seconds and what it takes to start workers, where there are several."""
    return plan.seconds + (_START_SECONDS if len(plan.workers) > 1 else 0.0)


def _costs(
    task: DistillationTask, replacements: Mapping[str, nn.Module], loss: Loss, threads: int
) -> dict[str, BlockCost]:
    """Measure every candidate, those of one builder at a time."""
    by_builder: dict[int, dict[str, nn.Module]] = {}
    for name, replacement in replacements.items():
        block, index = candidate_of(name)
        by_builder.setdefault(index, {})[block] = replacement
    costs: dict[str, BlockCost] = {}
    with thread_count(threads):
        for index, modules in by_builder.items():
            measured = measure_costs(
                task.feeding,
                modules,
                task.images.to(task.dtype),
                loss,
                dtype=task.dtype,
            )
            costs |= {candidate_name(cost.name, index): cost for cost in measured}
    return costs


def _with_epochs(config: RunConfig, task: DistillationTask) -> RunConfig:
    """Return the configuration with every epoch count that was left open worked out."""

    def epochs(given: int | None, wanted_steps: int, data: Dataset = task.training) -> int:
        steps = steps_per_epoch(data.train, config.batch_size)
        return given if given is not None else max(1, round(wanted_steps / steps))

    distill = replace(
        config.distill,
        epochs=epochs(config.distill.epochs, _DISTILL_STEPS),
        student_fed_epochs=epochs(config.distill.student_fed_epochs, _STUDENT_FED_STEPS),
    )
    finetune = replace(
        config.finetune, epochs=epochs(config.finetune.epochs, _FINETUNE_STEPS, task.data)
    )
    return replace(config, distill=distill, finetune=finetune)


def _propose_all(
    config: RunConfig, builders: Sequence[BlockBuilder], task: DistillationTask
) -> dict[str, Proposal]:
    """Return every builder's proposal for every block, by the candidate's name."""
    names = replaceable(task.chain, config.keep)
    return {
        candidate_name(block.name, index): propose(
            builder, task.chain[block.position], block, config.seed
        )
        for block in blocks_of(task.chain, task.images[:1], names)
        for index, builder in enumerate(builders)
    }


def _plan(
    config: RunConfig,
    known_schedulers: Mapping[str, Scheduler],
    task: DistillationTask,
    proposals: Mapping[str, Proposal],
    costs: Mapping[str, BlockCost],
    workers: tuple[Worker, ...],
) -> Plan:
    blocks_trained = {p.block.name: p.block for name, p in proposals.items() if name in costs}
    trained = list(blocks_trained.values())
    workload = _workload(config, task.training)
    obstacle = cache_obstacle(config, task, trained, workers)
    together = sum_costs([costs[name] for name in proposals if name in costs])
    choice = choose_schedule(known_schedulers, together, workers, workload, obstacle=obstacle)
    cached = choice.schedule.feed == "cache"
    choices = builder_choices(config)
    blocks = tuple(
        PlannedBlock(
            name=name,
            builder=choices[candidate_of(name)[1]],
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
    return Plan(
        blocks=blocks,
        workers=workers,
        schedule=choice.schedule,
        workload=workload,
        seconds=choice.seconds,
        scheduler=choice.scheduler,
        why=choice.why,
        cache=cache_name(config, task, trained) if cached else None,
    )


def _with_forward_seconds(
    plan: Plan, config: RunConfig, task: DistillationTask, replacements: Mapping[str, nn.Module]
) -> Plan:
    """Fill in what a forward pass takes, where the budget limits it."""
    seconds, others = forward_seconds(config, task, replacements)
    blocks = tuple(
        replace(p, seconds_before=seconds[p.name][0], seconds_after=seconds[p.name][1])
        if p.name in seconds
        else p
        for p in plan.blocks
    )
    return replace(plan, blocks=blocks, other_seconds=others)


def _workload(config: RunConfig, data: Dataset) -> Workload:
    """Return the teacher-fed phase's steps; images that are augmented are never seen again."""
    per_epoch = steps_per_epoch(data.train, config.batch_size)
    steps = (config.distill.epochs or 0) * per_epoch
    return Workload(steps, steps if data.augmentation.is_random else per_epoch)
