"""The blockwise phases, seen from the host: assign, launch, collect the events of the workers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, EpochDone
from pbkd.core.schedule import Job, Schedule, check_schedule
from pbkd.errors import PbkdError, WorkerError, is_out_of_memory
from pbkd.execution.worker import work
from pbkd.models.weights import read_weights, write_weights
from pbkd.plugin.attribution import failure_of, named
from pbkd.runs.assignment import Assignment, write_assignment
from pbkd.runs.events import follow_events, read_events
from pbkd.runs.progress import finished_blocks
from pbkd.training.failures import OUT_OF_MEMORY, divergence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.core.events import Emit, Event
    from pbkd.core.results import BlockResult
    from pbkd.core.schedule import Worker
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Launcher


__all__ = ["distil_student_fed", "distil_teacher_fed"]

_LOWER = 0.1
_MICRO_BATCHES = 4


def distil_teacher_fed(
    planned_run: PlannedRun, folder: Path, forward: Emit
) -> dict[str, BlockTrained]:
    """Train every candidate alone, as planned; return the event of each.

    Those that fail are trained once more; an event then has its `first_failure` too.
    """
    plan = planned_run.plan
    cache = plan.cache if plan.schedule.feed == "cache" else None
    names = tuple(planned.name for planned in plan.trained)
    blocks = _blocks(planned_run, names)
    planned = Assignment(
        "teacher-fed",
        "initial",
        plan.workers,
        plan.schedule,
        blocks,
        cache=cache,
        candidates=names,
    )
    events = _distil(planned_run, folder, planned, forward)
    failed = {name: event for name, event in events.items() if event.failure}
    return events | _retried(planned_run, folder, failed, forward) if failed else events


def _retried(
    planned_run: PlannedRun,
    folder: Path,
    failed: Mapping[str, BlockTrained],
    forward: Emit,
) -> dict[str, BlockTrained]:
    """Train failed candidates again from their first weights, each block's alone, for less memory.

    One that diverged gets a tenth of its learning rate, one that ran out of memory goes through
    each batch in four pieces. The weights of those that succeed are put
    where the teacher-fed phase would have left them.
    """
    blocks = _blocks(planned_run, failed)
    workers = planned_run.plan.workers[: len(blocks)]
    jobs = tuple(Job((name,)) for name in blocks)
    schedule = Schedule(((),) * len(workers), jobs)
    rates = {name: _LOWER for name, event in failed.items() if divergence(event.losses)}
    micro_batches = {
        name: _MICRO_BATCHES for name, event in failed.items() if event.failure == OUT_OF_MEMORY
    }
    again = Assignment(
        "retry",
        "initial",
        workers,
        schedule,
        blocks,
        rates=rates,
        micro_batches=micro_batches,
        candidates=tuple(failed),
    )
    events = _distil(planned_run, folder, again, forward)
    for name, event in events.items():
        if event.failure is None:
            weights = read_weights(folder / "retry" / f"{name}.safetensors")
            write_weights(folder / "teacher-fed" / f"{name}.safetensors", weights)
    return {
        name: replace(event, first_failure=failed[name].failure) for name, event in events.items()
    }


def distil_student_fed(
    planned_run: PlannedRun,
    registry: Registry,
    folder: Path,
    accepted: Mapping[str, BlockResult],
    forward: Emit,
) -> dict[str, BlockTrained]:
    """Train the accepted replacements, one a block, on the student's own activations, in a relay.

    Each worker needs what the replacements before its own give, so no other feed will do. Blocks
    that ran out of memory before go through each batch in pieces.
    """
    costs = [
        planned.cost
        for planned in planned_run.plan.trained
        if planned.cost is not None and planned.name in accepted
    ]
    names = [cost.name for cost in costs]
    workers = planned_run.plan.workers
    if len(workers) == 1:
        schedule = Schedule(((Job(tuple(names)),),))
    else:
        schedule = registry.create("scheduler", {"name": "pipeline"}).schedule(costs, workers)
        check_schedule(schedule, costs, len(workers))
    blocks = _blocks(planned_run, accepted)
    micro_batches = {
        n: _MICRO_BATCHES for n, block in accepted.items() if block.first_failure == OUT_OF_MEMORY
    }
    following = Assignment(
        "student-fed",
        "teacher-fed",
        workers,
        schedule,
        blocks,
        micro_batches=micro_batches,
        candidates=tuple(accepted),
    )
    return _distil(planned_run, folder, following, forward)


def _blocks(planned_run: PlannedRun, names: Collection[str]) -> dict[str, Block]:
    """Return the blocks of the candidates of these names."""
    return {p.block.name: p.block for p in planned_run.plan.trained if p.name in names}


def _distil(
    planned_run: PlannedRun,
    folder: Path,
    assignment: Assignment,
    forward: Emit,
) -> dict[str, BlockTrained]:
    """Have a phase's candidates trained, as far as they are not; return their events."""
    write_assignment(folder, assignment)
    phase, names = assignment.phase, assignment.candidates
    progress = _PhaseEvents(phase, forward)
    for event in read_events(folder):  # of a run that is resumed
        if isinstance(event, EpochDone):
            progress.see(event)
    for event in finished_blocks(folder, phase).values():
        progress.see(event)
    launcher = planned_run.launcher
    if not all(name in progress.blocks for name in names):
        with follow_events(folder, progress.see, skip="host"):
            _launch(launcher, _work_of(planned_run), folder, assignment.workers)
    missing = [name for name in names if name not in progress.blocks]
    if missing:
        raise WorkerError(
            f"{named('launcher', launcher)} ended, but nobody trained {', '.join(missing)}."
        )
    shutil.rmtree(folder / "checkpoints" / phase, ignore_errors=True)
    return {name: progress.blocks[name] for name in names}


def _launch(
    launcher: Launcher, wanted: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
) -> None:
    """Have the work done; an error of the launcher's own, not of the work's, is a `WorkerError`."""
    try:
        launcher.launch(wanted, folder, workers)
    except (PbkdError, OSError):
        raise
    except Exception as error:
        frames = (frame for frame, _ in walk_tb(error.__traceback__))
        if is_out_of_memory(error) or any(frame.f_code is work.__code__ for frame in frames):
            raise
        raise WorkerError(
            f"{failure_of('launcher', launcher, 'launch', error)}: go on with another one, by"
            f" `pbkd run --resume {folder} launcher=local`."
        ) from error


def _work_of(planned_run: PlannedRun) -> Callable[[Path, int], None]:
    """Return what each worker does; what a program has in memory goes along with it."""
    return partial(work, inputs=planned_run.inputs) if planned_run.inputs else work


class _PhaseEvents:
    """Passes on a phase's events, each epoch and block once however often it was repeated."""

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
