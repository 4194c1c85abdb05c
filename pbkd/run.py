"""One run, from a configuration to a result."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

import pbkd
from pbkd.blockwise import distil_teacher_fed
from pbkd.chain import blocks_of
from pbkd.cost import measure_costs
from pbkd.data import steps_per_epoch
from pbkd.energy import monitor_energy
from pbkd.errors import ConfigError, TeacherError, did_you_mean
from pbkd.finish import finish
from pbkd.folder import open_folder, reopen_folder, resumed_note
from pbkd.identity import check_choices
from pbkd.journal import folder_needed
from pbkd.launch import possible_crews
from pbkd.loss import LOSSES
from pbkd.measure import accuracy
from pbkd.observe import observe
from pbkd.options import chosen
from pbkd.phases import PhaseClock
from pbkd.plan import Plan, PlannedBlock, Workload
from pbkd.prepare import pick_device, prepare
from pbkd.replacement import propose, replaceable
from pbkd.report import write_report
from pbkd.result import RunResult, block_result
from pbkd.resume import locked, unfinished_run
from pbkd.schedule import cache_name, cache_obstacle, choose_schedule, schedulers
from pbkd.weights import fingerprint
from pbkd.worker import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.config import RunConfig
    from pbkd.data import Dataset
    from pbkd.finish import Outcome
    from pbkd.journal import Event
    from pbkd.plan import BlockCost, Worker
    from pbkd.prepare import Prepared
    from pbkd.protocols import BlockBuilder, EnergyMeter, Scheduler
    from pbkd.registry import Registry
    from pbkd.replacement import Proposal
    from pbkd.result import BlockResult

__all__ = ["Prospect", "plan_run", "run"]

_DISTILL_STEPS, _STUDENT_FED_STEPS, _FINETUNE_STEPS = 600, 300, 600
_START_SECONDS = 4.0  # of a process that imports torch, loads teacher and data, finds the others


@dataclass(frozen=True)
class Prospect:
    """What is known before training: the resolved configuration, the plan, what it was made of."""

    config: RunConfig
    prepared: Prepared
    plan: Plan
    replacements: Mapping[str, nn.Module]


def plan_run(config: RunConfig, registry: Registry) -> Prospect:
    """Decide everything, train nothing: steps 4 to 7 of a run."""
    candidates = schedulers(config, registry)
    chosen(registry, "launcher", config.launcher)
    builder = chosen(registry, "builder", config.builder)
    if config.distill.loss not in LOSSES:
        raise ConfigError(
            f"unknown loss '{config.distill.loss}'.{did_you_mean(config.distill.loss, LOSSES)}"
        )
    device = pick_device(config.device)
    crews = possible_crews(config, device)
    prepared = prepare(config, registry, crews[0][0].device)
    config = _with_epochs(config, prepared)
    proposals = _propose_all(config, builder, prepared)
    replacements = {p.block.name: p.replacement for p in proposals if p.replacement is not None}
    if not replacements:
        reasons = "; ".join(f"{p.block.name}: {p.reason}" for p in proposals) or "all are in `keep`"
        raise ConfigError(f"there is nothing to replace ({reasons}).")
    plans = [
        _plan(config, candidates, prepared, proposals, costs, workers)
        for workers in crews
        for costs in [_costs(config, prepared, replacements, workers[0].threads)]
    ]
    plan = min(plans, key=_seconds_with_start)
    if len(plans) > 1:
        tried = ", ".join(f"{len(p.workers)}: {p.seconds:.1f} s" for p in plans)
        plan = replace(plan, why=f"{plan.why}; workers=auto (predicted with {tried})")
    config = replace(config, workers=len(plan.workers))
    return Prospect(config, prepared, plan, replacements)


def _seconds_with_start(plan: Plan) -> float:
    """Return the predicted seconds and what the workers of two phases take to start."""
    return plan.seconds + (2 * _START_SECONDS if len(plan.workers) > 1 else 0.0)


def _costs(
    config: RunConfig, prepared: Prepared, replacements: Mapping[str, nn.Module], threads: int
) -> list[BlockCost]:
    with thread_count(threads):
        return measure_costs(
            prepared.feeding,
            replacements,
            prepared.images.to(prepared.dtype),
            LOSSES[config.distill.loss],
            dtype=prepared.dtype,
        )


def run(
    config: RunConfig,
    registry: Registry,
    tell: Callable[[Event], None] = lambda _event: None,
    *,
    resume: Path | None = None,
) -> RunResult:
    """Compress a teacher; return the result, which is in the run folder too.

    `tell` gets every event as it happens, from this thread or from one that follows the workers.
    `resume` is the folder of a run that was stopped: it goes on, and gives what it would have given
    undisturbed. Raises `IdentityError` where the configuration would change that.
    """
    meters = [_meter(registry, choice) for choice in config.meters]
    with ExitStack() as stack:
        if resume:
            stack.enter_context(locked(unfinished_run(resume)))
            check_choices(resume, config)
        clock = PhaseClock(stack.enter_context(monitor_energy(meters)))
        with clock.phase("planning"):
            prospect = plan_run(config, registry)
            _score_teacher(prospect.prepared, tell)
            before = fingerprint(prospect.prepared.teacher.network)
            folder = reopen_folder(prospect, resume) if resume else open_folder(prospect, stack)
        tell(_plan_event(prospect, folder))
        with folder_needed(folder):
            with clock.phase("teacher-fed"):
                trained, faults = _teacher_fed(prospect, registry, folder, tell)
            outcome = finish(prospect, registry, trained, folder, clock, tell)
        if fingerprint(prospect.prepared.teacher.network) != before:
            raise TeacherError(
                "the teacher's weights changed during the run: a plugin writes to them."
            )
        result = _result(prospect, folder, outcome, clock, faults)
        write_report(result, folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for fault in observe(registry, "run_finished", result):
            tell({"event": "note", "text": fault})
        tell({"event": "result", "result": result})
        return result


def _result(
    prospect: Prospect, folder: Path, outcome: Outcome, clock: PhaseClock, faults: Sequence[str]
) -> RunResult:
    return RunResult(
        folder=str(folder),
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        teacher=outcome.teacher,
        student=outcome.student,
        accuracies=outcome.accuracies,
        blocks=outcome.blocks,
        phases=tuple(clock.results),
        notes=(*_skipped(prospect.prepared.data), *outcome.notes, *faults, *resumed_note(folder)),
        environment=_environment(prospect.plan.workers),
    )


def _with_epochs(config: RunConfig, prepared: Prepared) -> RunConfig:
    """Return the configuration with every epoch count that was left open worked out."""

    def epochs(given: int | None, wanted_steps: int, data: Dataset = prepared.training) -> int:
        steps = steps_per_epoch(data.train, config.batch_size)
        return given if given is not None else max(1, round(wanted_steps / steps))

    distill = replace(
        config.distill,
        epochs=epochs(config.distill.epochs, _DISTILL_STEPS),
        student_fed_epochs=epochs(config.distill.student_fed_epochs, _STUDENT_FED_STEPS),
    )
    finetune = replace(
        config.finetune, epochs=epochs(config.finetune.epochs, _FINETUNE_STEPS, prepared.data)
    )
    return replace(config, distill=distill, finetune=finetune)


def _propose_all(config: RunConfig, builder: BlockBuilder, prepared: Prepared) -> list[Proposal]:
    names = replaceable(prepared.chain, config.keep)
    return [
        propose(builder, prepared.chain[block.position], block, config.seed)
        for block in blocks_of(prepared.chain, prepared.images[:1], names)
    ]


def _plan(
    config: RunConfig,
    candidates: Mapping[str, Scheduler],
    prepared: Prepared,
    proposals: Sequence[Proposal],
    costs: Sequence[BlockCost],
    workers: tuple[Worker, ...],
) -> Plan:
    by_name = {cost.name: cost for cost in costs}
    trained = [p.block for p in proposals if p.block.name in by_name]
    workload = _workload(config, prepared.training)
    obstacle = cache_obstacle(config, prepared, trained)
    choice = choose_schedule(candidates, costs, workers, workload, obstacle=obstacle)
    cached = choice.schedule.feed == "cache"
    blocks = tuple(
        PlannedBlock(
            p.block,
            p.reason,
            p.parameters_before,
            p.parameters_after,
            p.macs_before,
            p.macs_after,
            by_name.get(p.block.name),
        )
        for p in proposals
    )
    return Plan(
        blocks,
        workers,
        choice.schedule,
        workload,
        choice.seconds,
        choice.scheduler,
        choice.why,
        cache_name(config, prepared, trained) if cached else None,
    )


def _workload(config: RunConfig, data: Dataset) -> Workload:
    """Return the teacher-fed phase's steps; images that are augmented are never seen again."""
    per_epoch = steps_per_epoch(data.train, config.batch_size)
    steps = (config.distill.epochs or 0) * per_epoch
    augmented = data.augment.crop or data.augment.flip
    return Workload(steps, steps if augmented else per_epoch)


def _score_teacher(prepared: Prepared, tell: Callable[[Event], None]) -> None:
    """Score the teacher on the test split before anything else happens to it."""
    teacher = prepared.teacher
    score = accuracy(
        teacher.network,
        prepared.data.test,
        mean=teacher.mean,
        std=teacher.std,
        device=prepared.device,
    )
    images = len(prepared.data.test)
    tell({"event": "teacher", "name": teacher.name, "accuracy": score, "images": images})


def _plan_event(prospect: Prospect, folder: Path) -> Event:
    """Tell of the plan, with how many epoch events each phase will bring."""
    blocks, config = len(prospect.plan.trained), prospect.config
    totals = {
        "teacher-fed": blocks * (config.distill.epochs or 0),
        "student-fed": blocks * (config.distill.student_fed_epochs or 0),
        "fine-tuning": config.finetune.epochs,
    }
    return {"event": "plan", "folder": str(folder), "plan": prospect.plan, "totals": totals}


def _teacher_fed(
    prospect: Prospect, registry: Registry, folder: Path, tell: Callable[[Event], None]
) -> tuple[dict[str, BlockResult], list[str]]:
    """Distil as planned; observers hear of each block as it is finished, and may fail."""
    planned = {p.block.name: p for p in prospect.plan.trained}
    faults: list[str] = []

    def seen(event: Event) -> None:
        again = event["event"] == "block" and event["failure"] and event["phase"] != "retry"
        if event["event"] == "block" and not again:
            result = block_result(planned[event["block"]], event)
            for fault in observe(registry, "block_finished", result):
                if fault not in faults:
                    faults.append(fault)
                    tell({"event": "note", "text": fault})
        tell(event)

    events = distil_teacher_fed(prospect, registry, folder, seen)
    return {name: block_result(planned[name], event) for name, event in events.items()}, faults


def _meter(registry: Registry, choice: Any) -> EnergyMeter:
    named = choice if isinstance(choice, dict) else {"name": choice}
    meter: EnergyMeter = chosen(registry, "meter", named)
    return meter


def _skipped(data: Dataset) -> list[str]:
    """Say which corrupt images were left out, if any."""
    count, first = len(data.skipped), ", ".join(data.skipped[:3])
    more = ", …" if count > 3 else ""
    return [f"Left out {count} corrupt image(s): {first}{more}."] if count else []


def _environment(workers: Sequence[Worker]) -> dict[str, str]:
    return {
        "pbkd": pbkd.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "workers": ", ".join(f"{w.device} ({w.threads} threads)" for w in workers),
    }
