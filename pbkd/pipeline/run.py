"""One run, from a configuration to a result."""

from __future__ import annotations

import multiprocessing
import os
import platform
import shlex
import shutil
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from pbkd._version import __version__
from pbkd.core.events import BlockTrained, Note, RunFinished, TeacherScored
from pbkd.core.process import keep_freed_memory
from pbkd.core.results import RunResult
from pbkd.energy.accounting import RUN, account_energy, devices_in_use
from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import PhaseClock, report_power
from pbkd.errors import ConfigError, TeacherError
from pbkd.models.precision import slowness
from pbkd.models.weights import fingerprint
from pbkd.pipeline.block_results import block_result
from pbkd.pipeline.distill_blocks import distil_teacher_fed
from pbkd.pipeline.finish import finish
from pbkd.pipeline.plan import cost_table, plan_run
from pbkd.pipeline.run_folder import open_folder, reopen_folder, resumed_note
from pbkd.plugin.observers import observe
from pbkd.report import write_report
from pbkd.runs.events import EventLog
from pbkd.runs.folder import folder_needed, locked, times_resumed, unfinished_run
from pbkd.runs.identity import check_choices
from pbkd.runs.plan_files import plan_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.config.schema import RunConfig
    from pbkd.core.events import Emit, Event
    from pbkd.core.results import BlockResult, EnergyResult
    from pbkd.core.schedule import Worker
    from pbkd.data.datasets import Dataset
    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.pipeline.finish import Outcome
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import EnergyMeter
    from pbkd.training.task import DistillationTask


__all__ = ["run"]


def run(
    config: RunConfig,
    registry: Registry,
    emit: Emit = lambda _event: None,
    *,
    resume: Path | None = None,
    inputs: InMemoryInputs | None = None,
) -> RunResult:
    """Compress a teacher by blockwise distillation.

    Args:
        config: The configuration.
        registry: The plugins.
        emit: Gets every event as it happens, from this thread or from one that follows the workers.
        resume: The folder of a run that was stopped, which goes on and gives the same student as
            without the interruption.
        inputs: A teacher, and optionally data, that a program has in memory.

    Returns:
        The result, which is written to the run folder too.

    Raises:
        IdentityError: If the configuration does not match the run to resume.
        ConfigError: If a worker process that imports its main program gets here.
        PbkdError: If anything else is wrong with configuration, teacher, data or plugins.
    """
    _check_main()
    keep_freed_memory()
    log = EventLog(emit)
    meters = [_meter(registry, choice) for choice in config.meters]
    with ExitStack() as stack:
        if resume:
            stack.enter_context(locked(unfinished_run(resume)))
            check_choices(resume, config)
        monitor = stack.enter_context(monitor_energy(meters))
        monitor.measure_idle()
        stack.enter_context(report_power(monitor, log.emit))
        clock = PhaseClock(monitor, log.emit)
        with monitor.window(RUN):
            with clock.phase("planning"):
                planned_run = plan_run(config, registry, inputs)
                _score_teacher(planned_run.task, log.emit)
                before = fingerprint(planned_run.task.teacher.network)
                folder = (
                    reopen_folder(planned_run, resume)
                    if resume
                    else open_folder(planned_run, stack)
                )
            log.record_in(folder)
            for note in _slow(planned_run):
                log.emit(Note(text=note))
            log.emit(
                plan_event(folder, planned_run.config, planned_run.plan, cost_table(planned_run))
            )
            with folder_needed(folder):
                with clock.phase("teacher-fed"):
                    trained, faults = _teacher_fed(planned_run, registry, folder, log)
                outcome = finish(planned_run, registry, trained, folder, clock, log)
        if fingerprint(planned_run.task.teacher.network) != before:
            raise TeacherError(
                "the teacher's weights changed during the run: a plugin writes to them."
            )
        energy = _energy(planned_run, monitor, folder)
        result = _result(planned_run, folder, outcome, clock, faults, energy)
        write_report(result, folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for fault in observe(registry, "run_finished", result):
            log.emit(Note(text=fault))
        log.forward(RunFinished(result=result))  # result.json has it
        return result


def _check_main() -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "every worker imports the program that started it, so that what it is to do once"
            " belongs below `if __name__ == '__main__':`."
        )


def _result(
    planned_run: PlannedRun,
    folder: Path,
    outcome: Outcome,
    clock: PhaseClock,
    faults: Sequence[str],
    energy: EnergyResult,
) -> RunResult:
    data = planned_run.task.data
    return RunResult(
        folder=str(folder),
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        teacher=outcome.teacher,
        student=outcome.student,
        accuracies=outcome.test if data.labelled else dict.fromkeys(outcome.test),
        agreements={} if data.labelled else outcome.test,
        accuracy_reason=None if data.labelled else f"the data '{data.name}' has no labels",
        validation=outcome.validation,
        blocks=outcome.blocks,
        candidates=outcome.candidates,
        phases=tuple(clock.results),
        notes=(
            *_skipped(data),
            *_slow(planned_run),
            *outcome.notes,
            *faults,
            *resumed_note(folder),
        ),
        environment=_environment(planned_run.plan.workers),
        energy=energy,
    )


def _energy(planned_run: PlannedRun, monitor: EnergyMonitor, folder: Path) -> EnergyResult:
    plan, host = planned_run.plan, str(planned_run.task.device)
    in_use = devices_in_use(plan.schedule, plan.workers, host)
    return account_energy(monitor.windows, plan.workers, in_use, resumed=times_resumed(folder) > 0)


def _score_teacher(task: DistillationTask, emit: Emit) -> None:
    """Score the teacher on the test split, if that has labels, before anything happens to it."""
    teacher, data = task.teacher, task.data
    score = task.score(teacher.network, data.test) if data.labelled else None
    images = len(data.test)
    emit(TeacherScored(name=teacher.name, images=images, accuracy=score, cut=task.partitioner))


def _teacher_fed(
    planned_run: PlannedRun, registry: Registry, folder: Path, log: EventLog
) -> tuple[dict[str, BlockResult], list[str]]:
    """Distil as planned; observers hear of each block as it is finished, and may fail."""
    planned = {p.name: p for p in planned_run.plan.trained}
    faults: list[str] = []

    def forward(event: Event) -> None:
        if isinstance(event, BlockTrained) and (not event.failure or event.phase == "retry"):
            result = block_result(planned[event.block], event)
            for fault in observe(registry, "block_finished", result):
                if fault not in faults:
                    faults.append(fault)
                    log.emit(Note(text=fault))
        log.forward(event)

    events = distil_teacher_fed(planned_run, folder, forward)
    return {name: block_result(planned[name], event) for name, event in events.items()}, faults


def _meter(registry: Registry, choice: Any) -> EnergyMeter:
    named = choice if isinstance(choice, dict) else {"name": choice}
    meter: EnergyMeter = registry.create("meter", named)
    return meter


def _slow(planned_run: PlannedRun) -> list[str]:
    note = slowness(planned_run.task.dtype, planned_run.task.device)
    return [note] if note else []


def _skipped(data: Dataset) -> list[str]:
    """Say which corrupt images were left out, if any."""
    count, first = len(data.skipped_files), ", ".join(data.skipped_files[:3])
    more = ", …" if count > 3 else ""
    return [f"Left out {count} corrupt image(s): {first}{more}."] if count else []


def _environment(workers: Sequence[Worker]) -> dict[str, str]:
    return {
        "pbkd": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "workers": ", ".join(f"{w.device} ({w.threads} threads)" for w in workers),
    }
