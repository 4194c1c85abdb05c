"""The plan of a run: replacements, workers and schedule, decided before anything is trained."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pbkd.config.load import to_yaml
from pbkd.config.schema import AUTO, RunConfig
from pbkd.core.blocks import sum_costs
from pbkd.core.devices import pick_device
from pbkd.data.batching import steps_per_epoch
from pbkd.execution.worker_request import WorkerRequest
from pbkd.execution.workers import describe_shared_devices, possible_workers
from pbkd.models.asked_builders import ask_builders
from pbkd.pipeline.choice import ChoiceTools
from pbkd.pipeline.expected_student import expect_student
from pbkd.pipeline.first_guess import Guess, guess, with_seconds
from pbkd.pipeline.loss_checks import drop_without_features, try_on_blocks
from pbkd.pipeline.plan_workers import fastest, plan_for_workers
from pbkd.pipeline.proposals import check_proposals, propose_all, replacements_of
from pbkd.pipeline.resolve import resolve
from pbkd.pipeline.strategies import create_strategies
from pbkd.pipeline.workload import phase_workload
from pbkd.planning.budget import check_candidates
from pbkd.planning.cost_files import CostTable
from pbkd.planning.limits import is_limited, likely_targets, limits_loss_alone, point_targets
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.finetune_loss import check_finetune_loss
from pbkd.training.optimisation_check import check_optimiser, check_schedule
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.core.schedule import Worker
    from pbkd.core.workload import Workload
    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.models.proposal import Proposal
    from pbkd.pipeline.strategies import Strategies
    from pbkd.planning.plan import Plan
    from pbkd.planning.run_work import RunWork
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Launcher, Scheduler
    from pbkd.training.task import DistillationTask


__all__ = ["PlannedPoint", "PlannedRun", "cost_table", "plan_run"]


@dataclass(frozen=True)
class PlannedPoint:
    """A point of a curve.

    Attributes:
        config: The resolved configuration of a run with its target alone.
        expected: The candidates that enter its student if each is good enough.
    """

    config: RunConfig
    expected: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """Everything that is decided before training.

    Attributes:
        config: The resolved configuration.
        task: Teacher, data and chain.
        plan: Blocks, workers, schedule and predicted seconds.
        replacements: The untrained replacements, by candidate.
        build_seconds: Seconds that a worker takes to build the replacements.
        launcher: What starts the workers.
        schedulers: The schedulers to choose from, by name.
        tools: What selects the candidates within the target's limits, and where latency counts.
        expected: The candidates that enter the student if each is good enough.
        notes: Which candidates are trained, what cannot be had of the target, and which workers
            share a device, a sentence each.
        points: The points of the curve, by name, if the target is one. `expected` is then the
            student of its first point, the largest.
        inputs: What a program has in memory, if it started the run.
        phases: The predicted seconds of every phase after planning.
        work: What the phases after planning have to do; None until it is counted.
        sharing: The workers of the phases that several share, such as fine-tuning, by phase.
    """

    config: RunConfig
    task: DistillationTask
    plan: Plan
    replacements: Mapping[str, nn.Module]
    build_seconds: float
    launcher: Launcher
    schedulers: Mapping[str, Scheduler]
    tools: ChoiceTools
    expected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    points: Mapping[str, PlannedPoint] = field(default_factory=dict)
    inputs: InMemoryInputs | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    work: RunWork | None = None
    sharing: Mapping[str, tuple[Worker, ...]] = field(default_factory=dict)

    def with_target(self, target: TargetConfig) -> PlannedRun:
        """Return the plan of a student with another target, of the same candidates."""
        return replace(self, config=replace(self.config, target=target), notes=())

    @property
    def epochs(self) -> dict[str, tuple[int, ...]]:
        """The epochs of each training phase, but for the first one of each student."""
        distill = self.config.distill
        configs = [point.config for point in self.points.values()] or [self.config]
        return {
            "teacher-fed": (distill.epochs or 0,),
            "student-fed": (distill.student_fed_epochs,) * len(configs),
            "fine-tuning": tuple(config.finetune.epochs or 0 for config in configs),
        }


def plan_run(
    config: RunConfig,
    registry: Registry,
    inputs: InMemoryInputs | None = None,
    recorded: Mapping[str, dict[str, Any]] | None = None,
) -> PlannedRun:
    """Decide everything and train nothing: steps 4 to 7 of a run.

    Args:
        config: The configuration.
        registry: The plugins.
        inputs: A teacher, and optionally data, that a program has in memory.
        recorded: The builders and their options of a run that is resumed, by candidate.

    Returns:
        The plan that is predicted fastest, and all that it was made from.

    Raises:
        ConfigError: If a setting is invalid, or nothing can be replaced.
        ScheduleError: If no scheduler gives a valid schedule.
    """
    strategies = _strategies(config, registry)
    tools = _tools(config, registry)
    groups = _worker_groups(config, strategies.launcher)
    device = _host_device(groups[0][0], config.device)
    by_stages = strategies.builders.is_open and _leaves_blocks_open(config)
    task = build_task(config, registry, device, inputs, by_stages=by_stages)
    guessed = _proposals(config, registry, strategies, task, tools, recorded or {})
    proposals, replacements = guessed.proposals, replacements_of(guessed.proposals)
    first = replace(config, target=next(iter(point_targets(config.target).values())))
    _check_training(strategies, resolve(first, task, proposals, 1), task, replacements)
    plans = []
    for workers in groups:
        resolved = resolve(config, task, proposals, len(workers))
        extent = _workload(task, resolved), resolved.cache_gigabytes
        plans.append((resolved, plan_for_workers(workers, strategies, task, proposals, *extent)))
    resolved, plan = fastest(plans)
    planned = PlannedRun(
        config=resolved,
        task=task,
        plan=with_seconds(plan, guessed.timed),
        replacements=replacements,
        notes=guessed.notes,
        build_seconds=sum(p.seconds for p in proposals.values()),
        launcher=strategies.launcher,
        schedulers=strategies.schedulers,
        tools=tools,
        inputs=inputs,
    )
    return _expect_points(planned, proposals)


def cost_table(planned: PlannedRun) -> CostTable:
    """Tabulate the cost of every block that is trained, summed over its candidates.

    The work of all phases is in the table if it has been counted.
    """
    task, plan, worker = planned.task, planned.plan, planned.plan.workers[0]
    about = (
        f"{task.teacher.name} on {task.data.name}, batch {planned.config.batch_size},"
        f" measured on {worker.device} with {worker.threads} thread(s)"
    )
    costs = sum_costs([block.cost for block in plan.trained if block.cost])
    workload = replace(plan.workload, cache_bytes=None)
    return CostTable(about, tuple(costs), workload, planned.work)


def _tools(config: RunConfig, registry: Registry) -> ChoiceTools:
    return ChoiceTools(
        registry.create("selector", config.target.selector, "target.selector"),
        registry.create("engine", config.target.engine, "target.engine"),
    )


def _expect_points(planned: PlannedRun, proposals: Mapping[str, Proposal]) -> PlannedRun:
    """Add the points of a curve, or the only student, with the candidates that each should get."""
    config, task, replacements = planned.config, planned.task, planned.replacements
    errors = {name: p.error for name, p in proposals.items() if p.error is not None}
    points, students = {}, []
    for name, target in point_targets(config.target).items():
        student = expect_student(target, task, planned.plan, replacements, errors, planned.tools)
        alone = resolve(replace(config, target=target), task, proposals, int(config.workers))
        points[name] = PlannedPoint(alone, student.candidates)
        students.append(student)
    missed = (note for student in students for note in student.notes)
    return replace(
        planned,
        plan=students[0].plan,
        expected=students[0].candidates,
        notes=(*planned.notes, *missed, *describe_shared_devices(planned.plan.workers)),
        points=points if config.target.curve else {},
    )


def _strategies(config: RunConfig, registry: Registry) -> Strategies:
    check_candidates(config.candidates or (), config.target)
    limited = is_limited(config.target) or limits_loss_alone(config.target)
    return create_strategies(
        registry,
        builders=ask_builders(registry, config.builder, config.candidates, is_limited=limited),
        scheduler=config.scheduler,
        launcher=config.launcher,
        distill=config.distill,
        finetune=config.finetune,
    )


def _proposals(
    config: RunConfig,
    registry: Registry,
    strategies: Strategies,
    task: DistillationTask,
    tools: ChoiceTools,
    recorded: Mapping[str, dict[str, Any]],
) -> Guess:
    """Ask for replacements, and of an open choice keep what is worth training."""
    asked = strategies.builders
    proposals = propose_all(registry, asked, task, config.keep, config.seed, recorded)
    proposals = drop_without_features(proposals, strategies.loss, task.chain)
    guessed = Guess(proposals)
    if asked.is_open and not recorded:
        guessed = guess(likely_targets(config.target), task, proposals, tools)
    return replace(guessed, proposals=check_proposals(registry, task, guessed.proposals))


def _leaves_blocks_open(config: RunConfig) -> bool:
    """Return whether no builder is named, and no block, whose name depends on the cut."""
    return config.builder["name"] == AUTO and config.keep == RunConfig().keep


def _worker_groups(config: RunConfig, launcher: Launcher) -> list[tuple[Worker, ...]]:
    """List the worker groups to choose from: the launcher's own, or this machine's."""
    device = pick_device(config.device)
    launcher_workers = getattr(launcher, "workers", None)
    if launcher_workers is not None:
        request = WorkerRequest(
            workers=config.workers,
            threads=config.threads,
            device=config.device,
            configuration=to_yaml(config),
        )
        return [tuple(launcher_workers(request))]
    return possible_workers(config.workers, config.threads, device)


def _host_device(first: Worker, device: str) -> str:
    """The first worker's device, if that worker is on this machine."""
    here = first.node in ("", socket.gethostname())
    return first.device if here else pick_device(device)


def _workload(task: DistillationTask, config: RunConfig) -> Workload:
    epochs = config.distill.epochs or 0
    return phase_workload(task, epochs, config.cache_gigabytes)


def _check_training(
    strategies: Strategies,
    config: RunConfig,
    task: DistillationTask,
    replacements: Mapping[str, nn.Module],
) -> None:
    """Check both losses, optimisers, and the learning rates of all steps."""
    blockwise, whole = strategies.optimisation, strategies.fine_tuning
    losses = apply_to_blocks(strategies.loss, task.chain, task.dtype)
    try_on_blocks(losses, task.feeding, replacements, task.images.to(task.dtype))
    check_optimiser(blockwise.optimiser, blockwise.weight_decay, task.device)
    for epochs in (config.distill.epochs, config.distill.student_fed_epochs):
        steps = (epochs or 0) * steps_per_epoch(task.training.train, config.batch_size)
        check_schedule(blockwise.schedule, steps)
    if config.finetune.epochs:
        check_optimiser(whole.optimiser, whole.weight_decay, task.device)
        steps = config.finetune.epochs * steps_per_epoch(task.data.train, config.batch_size)
        check_schedule(whole.schedule, steps)
        check_finetune_loss(strategies.finetune_loss, task)
