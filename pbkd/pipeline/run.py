"""One run, from a configuration to a result."""

from __future__ import annotations

import multiprocessing
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.options import named_choice
from pbkd.core.events import Note, RunFinished
from pbkd.core.files import read_json
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.energy.accounting import RUN
from pbkd.energy.monitor import monitor_energy
from pbkd.energy.phases import PLANNING, PhaseClock, report_power
from pbkd.errors import ConfigError, TeacherError
from pbkd.execution.workers import own_threads
from pbkd.models.weights import fingerprint
from pbkd.pipeline.cheapest import finish_cheapest
from pbkd.pipeline.context import RunContext
from pbkd.pipeline.finish import finish
from pbkd.pipeline.initial_weights import recorded_builders, restore_initial_weights
from pbkd.pipeline.loading_check import check_loading
from pbkd.pipeline.plan import cost_table
from pbkd.pipeline.predict_phases import plan_whole_run
from pbkd.pipeline.run_folder import open_folder, reopen_folder
from pbkd.pipeline.run_result import input_notes, run_result
from pbkd.pipeline.select import select
from pbkd.pipeline.teacher_check import check_teacher, score_teacher
from pbkd.pipeline.train_blocks import train_blocks
from pbkd.pipeline.typed_choices import check_strategies, typed_choices
from pbkd.planning.limits import seeks_cheapest
from pbkd.plugin.observers import create_observers, observing
from pbkd.protocols import RunInfo
from pbkd.report.run_files import write_report
from pbkd.runs.assignment import SCORED
from pbkd.runs.events import EventLog, event_faults
from pbkd.runs.folder import check_out, folder_needed, make_out, unfinished_run
from pbkd.runs.identity import check_choices
from pbkd.runs.lock import locked
from pbkd.runs.plan_files import plan_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.core.events import Emit
    from pbkd.core.results import BlockResult, RunResult
    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.models.in_memory import InMemoryInputs
    from pbkd.pipeline.finish import Outcome
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.observers import Observers
    from pbkd.plugin.registry import Registry


__all__ = ["Equipment", "begin_run", "equipped", "needed", "publish", "run"]


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
        emit: Gets every event as it happens, from one thread at a time, but not always the same.
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
    if config.target.curve is not None:
        raise ConfigError(
            "'target.curve' gives several students: use `pbkd curve`, or the limit target.macs."
        )
    with equipped(config, registry, emit, resume) as tools:
        with tools.monitor.window(RUN):
            ctx, notes = begin_run(tools, config, registry, inputs)
            with needed(ctx):
                ctx, trained = train_blocks(ctx)
                outcome = _finished(ctx, trained)
        result = run_result(ctx, outcome, (*notes, *ctx.observers.notes), tools.monitor)
        publish(ctx, outcome.student, result)
        ctx.observers.run_finished(result)
        ctx.log.forward(RunFinished(result=result))  # not recorded: result.json has it
        return result


def _finished(ctx: RunContext, trained: Mapping[str, BlockResult]) -> Outcome:
    """Select candidates, and make the student of them."""
    target = ctx.planned.config.target
    if seeks_cheapest(target, ctx.plan):
        return finish_cheapest(ctx, trained, target)
    return finish(ctx, select(ctx, trained, target))


@dataclass(frozen=True)
class Equipment:
    """What is there before a run is planned.

    Attributes:
        log: Passes on its events.
        observers: Follow it.
        monitor: Measures its energy.
        clock: Measures its phases.
        open_run: Opens its folder.
        resume: The folder of a run that goes on.
    """

    log: EventLog
    observers: Observers
    monitor: EnergyMonitor
    clock: PhaseClock
    open_run: Callable[[PlannedRun], Path]
    resume: Path | None


@contextmanager
def equipped(
    config: RunConfig, registry: Registry, emit: Emit, resume: Path | None
) -> Iterator[Equipment]:
    """Yield the equipment of a run; arguments and errors as for `run`."""
    _check_main()
    keep_freed_memory()
    log = EventLog(emit)
    with ExitStack() as stack:
        stack.enter_context(thread_count(own_threads(config.workers, config.threads)))
        open_run = _folder_opener(stack, config, registry, resume)
        observers = stack.enter_context(_observed(registry, config.observers, log))
        monitor = stack.enter_context(_metered(registry, config.meters, log.emit))
        clock = PhaseClock(monitor, log.emit, observers.cpu_seconds)
        yield Equipment(log, observers, monitor, clock, open_run, resume)


def begin_run(
    tools: Equipment, config: RunConfig, registry: Registry, inputs: InMemoryInputs | None = None
) -> tuple[RunContext, tuple[str, ...]]:
    """Plan a run, open its folder and announce it; return its context, and notes for its result."""
    resume = tools.resume
    config = typed_choices(config, registry)
    with tools.clock.phase(PLANNING):
        planned = _plan(config, registry, inputs, resume)
        doubts = _score_teacher(planned, tools.log.emit, check=not resume)
        folder = tools.open_run(planned)
    ctx = RunContext(
        planned=planned,
        registry=registry,
        folder=folder,
        log=tools.log,
        clock=tools.clock,
        observers=tools.observers,
    )
    return ctx, (*doubts, *_announce(ctx, planned.config, resumed=resume is not None))


@contextmanager
def needed(ctx: RunContext) -> Iterator[None]:
    """Stop with a clear error if the teacher changes, or the folder is gone, in the context."""
    with _unchanged(ctx.task.teacher.network), folder_needed(ctx.folder):
        yield


def _check_main() -> None:
    """Refuse to run in a worker that is importing the program that started it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "every worker imports the program that started it, so that what it is to do once"
            " belongs below `if __name__ == '__main__':`."
        )


def _folder_opener(
    stack: ExitStack, config: RunConfig, registry: Registry, resume: Path | None
) -> Callable[[PlannedRun], Path]:
    """Check what is chosen, and `out` or the run to resume; return what opens the run folder."""
    check_strategies(config, registry)
    if resume is None:
        check_out(Path(config.out))
        return partial(open_folder, stack, registry)
    stack.enter_context(locked(unfinished_run(resume)))
    check_choices(resume, config)
    return partial(reopen_folder, resume, registry)


def _plan(
    config: RunConfig, registry: Registry, inputs: InMemoryInputs | None, resume: Path | None
) -> PlannedRun:
    """Plan the run; if it is new, create the folder that will hold its own."""
    recorded = recorded_builders(resume) if resume else None
    planned = plan_whole_run(config, registry, inputs, recorded)
    if not resume:
        make_out(Path(config.out))
    return planned


@contextmanager
def _metered(registry: Registry, choices: Sequence[Any], emit: Emit) -> Iterator[EnergyMonitor]:
    """Measure energy with the configured meters, and report power every few seconds."""
    meters = [registry.create("meter", named_choice(choice)) for choice in choices]
    with monitor_energy(meters) as monitor:
        monitor.measure_idle()
        with report_power(monitor, emit):
            yield monitor


@contextmanager
def _observed(registry: Registry, choices: Sequence[Any], log: EventLog) -> Iterator[Observers]:
    """Let the configured observers follow the run."""
    with observing(create_observers(registry, choices), log.emit) as observers:
        log.listen(observers.event)
        yield observers


@contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """Raise `TeacherError` if the teacher's weights change."""
    before = fingerprint(network)
    yield
    if fingerprint(network) != before:
        raise TeacherError("the teacher's weights changed during the run: a plugin writes to them.")


def _score_teacher(planned: PlannedRun, emit: Emit, *, check: bool) -> tuple[str, ...]:
    """Score the teacher before anything happens to it.

    If `check`, stop if it is hardly better than chance; emit and return remarks on it.
    """
    emit(score_teacher(planned.task))
    if not check:
        return ()
    doubts = check_teacher(planned.task, allow_chance=planned.config.allow_chance)
    for doubt in doubts:
        emit(Note(text=doubt))
    return doubts


def _announce(ctx: RunContext, config: RunConfig, *, resumed: bool) -> tuple[str, ...]:
    """Record the events so far in the run folder; emit the plan.

    If `resumed`, restore damaged initial weights; emit and return a note on each.
    """
    restored = restore_initial_weights(ctx.folder, ctx.planned.replacements) if resumed else ()
    ctx.log.record_in(ctx.folder)
    ctx.observers.run_started(_run_info(ctx.folder, config))
    damaged = event_faults(ctx.folder, {})
    notes = *input_notes(ctx.planned), *ctx.planned.notes, *restored, *damaged
    for note in (*ctx.registry.notes, *notes):
        ctx.log.emit(Note(text=note))
    table = cost_table(ctx.planned)
    phases = {**ctx.clock.seconds, **ctx.planned.phases}
    ctx.log.emit(plan_event(ctx.folder, ctx.planned.epochs, ctx.plan, table, phases))
    return restored


def _run_info(folder: Path, config: RunConfig) -> RunInfo:
    identity, plan = (read_json(folder / name) for name in ("identity.json", "plan.json"))
    configuration = asdict(config)
    return RunInfo(
        folder=folder.absolute(), identity=identity, configuration=configuration, plan=plan
    )


def publish(ctx: RunContext, student: nn.Module, result: RunResult) -> None:
    """Check that the student can be loaded; write the report, and delete what is not needed."""
    config = ctx.planned.config
    check_loading(
        ctx.registry,
        ctx.folder / "student",
        student,
        plugins=config.plugins,
        teacher=config.teacher,
    )
    write_report(result, ctx.folder)
    for unneeded in ("checkpoints", *SCORED):  # of phases that were interrupted, too
        shutil.rmtree(ctx.folder / unneeded, ignore_errors=True)
