"""The blockwise phases on the host: assign, launch, collect the workers' events."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from shlex import quote
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from pbkd.core.events import BlockTrained, EpochDone
from pbkd.core.schedule import Job, Schedule
from pbkd.errors import PbkdError, WorkerError, is_out_of_memory
from pbkd.execution.worker import work
from pbkd.models.weights import read_weights, write_weights
from pbkd.pipeline.cost_watch import CostWatch
from pbkd.pipeline.workload import phase_workload
from pbkd.planning.relay_schedule import relay_schedule
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.runs.assignment import Assignment, write_assignment
from pbkd.runs.events import flush_events, follow_events, read_events
from pbkd.runs.progress import finished_blocks
from pbkd.runs.split_request import withdraw_split
from pbkd.training.failures import OUT_OF_MEMORY, divergence_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.core.events import Emit, Event
    from pbkd.core.results import BlockResult
    from pbkd.core.schedule import Worker
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.planning.plan import Plan
    from pbkd.protocols import Launcher


__all__ = ["distill_student_fed", "distill_teacher_fed"]

_RETRY_RATE = 0.1  # factor on the learning rate of a block that diverged
_MICRO_BATCHES = 4  # of a block that ran out of memory


def distill_teacher_fed(ctx: RunContext, forward: Emit) -> tuple[Plan, dict[str, BlockTrained]]:
    """Train every candidate as planned, on the teacher's activations.

    If the first steps take other times than planned, the rest may be split anew. Candidates that
    fail are trained once more; their events then have a `first_failure`.

    Args:
        ctx: The run.
        forward: Gets each event of the phase once.

    Returns:
        The plan, corrected if it was split anew, and the event of each candidate, by its name.

    Raises:
        WorkerError: If the launcher fails, or leaves candidates untrained.
    """
    plan = ctx.plan
    names = tuple(planned.name for planned in plan.trained)
    assignment = Assignment(
        phase="teacher-fed",
        start="initial",
        workers=plan.workers,
        schedule=plan.schedule,
        blocks=_blocks(plan, names),
        cache=plan.cache if plan.schedule.feed == "cache" else None,
        builders=_builders(plan, names),
    )
    watch = CostWatch(ctx, plan, ctx.planned.config.distill.epochs or 0)
    events = _distill(ctx, assignment, forward, watch)
    failed = {name: event for name, event in events.items() if event.failure}
    return watch.plan, events | _retry(ctx, failed, forward) if failed else events


def _retry(
    ctx: RunContext, failed: Mapping[str, BlockTrained], forward: Emit
) -> dict[str, BlockTrained]:
    """Train failed candidates again from their initial weights, one job per block.

    Those that diverged get a tenth of their learning rate, those that ran out of memory train on
    micro-batches. Weights of those that succeed replace those of the teacher-fed phase.
    """
    plan, folder = ctx.plan, ctx.folder
    blocks = _blocks(plan, failed)
    workers = plan.workers[: len(blocks)]
    jobs = tuple(Job((name,)) for name in blocks)
    assignment = Assignment(
        phase="retry",
        start="initial",
        workers=workers,
        schedule=Schedule(((),) * len(workers), jobs),
        blocks=blocks,
        rates={
            name: _RETRY_RATE for name, event in failed.items() if divergence_reason(event.losses)
        },
        micro_batches={
            name: _MICRO_BATCHES for name, event in failed.items() if event.failure == OUT_OF_MEMORY
        },
        builders=_builders(plan, failed),
    )
    events = _distill(ctx, assignment, forward)
    for name, event in events.items():
        if event.failure is None:
            weights = read_weights(folder / "retry" / f"{name}.safetensors")
            write_weights(folder / "teacher-fed" / f"{name}.safetensors", weights)
    return {
        name: replace(event, first_failure=failed[name].failure) for name, event in events.items()
    }


def distill_student_fed(
    ctx: RunContext, accepted: Mapping[str, BlockResult], epochs: int
) -> dict[str, BlockTrained]:
    """Train the accepted replacements, one per block, on the student's activations.

    Workers form a relay, since each needs the outputs of the replacements before its own. Blocks
    that ran out of memory in the teacher-fed phase train on micro-batches.

    Args:
        ctx: The run.
        accepted: The results of the accepted candidates so far.
        epochs: Epochs of the phase.

    Returns:
        The event of each candidate, by its name.

    Raises:
        WorkerError: If the launcher fails, or leaves candidates untrained.
    """
    costs = [p.cost for p in ctx.plan.trained if p.cost is not None and p.name in accepted]
    assignment = Assignment(
        phase="student-fed",
        start="teacher-fed",
        workers=ctx.plan.workers,
        schedule=relay_schedule(
            partial(ctx.registry.create, "scheduler", {"name": "pipeline"}),
            costs,
            ctx.plan.workers,
            phase_workload(ctx.task, epochs),
        ),
        blocks=_blocks(ctx.plan, accepted),
        micro_batches={
            name: _MICRO_BATCHES
            for name, block in accepted.items()
            if block.first_failure == OUT_OF_MEMORY
        },
        builders=_builders(ctx.plan, accepted),
    )
    return _distill(ctx, assignment, ctx.log.forward)


def _blocks(plan: Plan, names: Collection[str]) -> dict[str, Block]:
    """The blocks of these candidates."""
    return {p.block.name: p.block for p in plan.trained if p.name in names}


def _builders(plan: Plan, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """The builders of these candidates, with the options that they chose."""
    return {p.name: dict(p.builder) for p in plan.trained if p.name in names}


def _distill(
    ctx: RunContext, assignment: Assignment, forward: Emit, watch: CostWatch | None = None
) -> dict[str, BlockTrained]:
    """Have the candidates of a phase trained that are not; return the events of all."""
    folder, phase, launcher = ctx.folder, assignment.phase, ctx.planned.launcher
    withdraw_split(folder)
    progress = _PhaseEvents(phase, forward)
    for event in read_events(folder):  # of a run that is resumed
        if isinstance(event, EpochDone):
            progress.see(event)
    for event in finished_blocks(folder, phase).values():
        progress.see(event)

    def see(event: Event) -> None:
        progress.see(event)
        if watch is not None:
            watch.see(event)

    next_part: Assignment | None = assignment
    while next_part and not all(name in progress.blocks for name in assignment.candidates):
        write_assignment(folder, next_part)
        with follow_events(folder, see, skip="host"):
            _launch(launcher, _work(ctx.planned), folder, next_part.workers)
        next_part = watch.next_assignment(next_part) if watch is not None else None
    missing = [name for name in assignment.candidates if name not in progress.blocks]
    if missing:
        raise WorkerError(
            f"{describe_strategy('launcher', launcher)} ended, but nobody trained"
            f" {', '.join(missing)}."
        )
    flush_events(folder)  # of the results, before what they replace is deleted
    shutil.rmtree(folder / "checkpoints" / phase, ignore_errors=True)
    return {name: progress.blocks[name] for name in assignment.candidates}


def _launch(
    launcher: Launcher,
    work_: Callable[[Path, int], None],
    folder: Path,
    workers: Sequence[Worker],
) -> None:
    """Have the work done; turn an error of the launcher itself into a `WorkerError`."""
    try:
        launcher.launch(work_, folder, workers)
    except (PbkdError, OSError):
        raise
    except Exception as error:
        frames = (frame for frame, _ in walk_tb(error.__traceback__))
        if is_out_of_memory(error) or any(frame.f_code is work.__code__ for frame in frames):
            raise
        raise WorkerError(
            f"{describe_failure('launcher', launcher, 'launch', error)}: go on with another one, by"
            f" `pbkd run --resume {quote(str(folder))} launcher=local`."
        ) from error


def _work(planned: PlannedRun) -> Callable[[Path, int], None]:
    """The function that each worker executes, with a program's objects in memory bound to it."""
    return partial(work, inputs=planned.inputs) if planned.inputs else work


class _PhaseEvents:
    """Passes a phase's events on, each epoch and block once, however often it was repeated."""

    def __init__(self, phase: str, forward: Emit) -> None:
        self.blocks: dict[str, BlockTrained] = {}
        self._phase = phase
        self._forward = forward
        self._epochs: set[tuple[str, int]] = set()

    def see(self, event: Event) -> None:
        if isinstance(event, (BlockTrained, EpochDone)) and not self._is_new(event):
            return
        self._forward(event)

    def _is_new(self, event: BlockTrained | EpochDone) -> bool:
        if event.phase != self._phase:
            return False
        if isinstance(event, EpochDone):
            epoch = event.block, event.epoch
            known = epoch in self._epochs
            self._epochs.add(epoch)
        else:
            known = event.block in self.blocks
            self.blocks.setdefault(event.block, event)
        return not known
