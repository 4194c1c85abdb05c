"""The blockwise phases on the host: assign, launch, collect the workers' events."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.core.schedule import Job, Schedule
from pbkd.errors import WorkerError
from pbkd.models.weights import read_weights, write_weights
from pbkd.pipeline.cost_watch import CostWatch
from pbkd.pipeline.launching import (
    PhaseEvents,
    candidate_blocks,
    candidate_builders,
    launch_assignment,
)
from pbkd.pipeline.workload import phase_workload
from pbkd.planning.relay_schedule import relay_schedule
from pbkd.plugin.attribution import describe_strategy
from pbkd.runs.assignment import Assignment
from pbkd.runs.events import flush_events
from pbkd.runs.progress import finished_blocks
from pbkd.runs.split_request import withdraw_split
from pbkd.training.failures import OUT_OF_MEMORY, is_divergence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pbkd.core.events import BlockTrained, Emit, Event
    from pbkd.core.results import BlockResult
    from pbkd.pipeline.context import RunContext
    from pbkd.planning.plan import Plan


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
        blocks=candidate_blocks(plan, names),
        cache=plan.cache if plan.schedule.feed == "cache" else None,
        builders=candidate_builders(plan, names),
    )
    watch = CostWatch(ctx, plan, max(ctx.planned.epochs["teacher-fed"]))
    events = _distill(ctx, assignment, forward, watch)
    failed = {name: event for name, event in events.items() if event.failure}
    return watch.plan, events | _retry(ctx, failed, forward) if failed else events


def _retry(
    ctx: RunContext, failed: Mapping[str, BlockTrained], forward: Emit
) -> dict[str, BlockTrained]:
    """Train failed candidates again from their initial weights.

    Those that diverged get a tenth of their learning rate, those that ran out of memory train on
    micro-batches. Weights of those that succeed replace those of the teacher-fed phase.
    """
    plan, folder = ctx.plan, ctx.folder
    blocks = candidate_blocks(plan, failed)
    jobs = _retry_jobs(blocks, failed, len(plan.workers))
    workers = plan.workers[: len(jobs)]
    assignment = Assignment(
        phase="retry",
        start="initial",
        workers=workers,
        schedule=Schedule(((),) * len(workers), jobs),
        blocks=blocks,
        rates={name: _RETRY_RATE for name, event in failed.items() if _diverged(event)},
        micro_batches={
            name: _MICRO_BATCHES for name, event in failed.items() if event.failure == OUT_OF_MEMORY
        },
        builders=candidate_builders(plan, failed),
    )
    events = _distill(ctx, assignment, forward)
    for name, event in events.items():
        if event.failure is None:
            weights = read_weights(folder / "retry" / f"{name}.safetensors")
            write_weights(folder / "teacher-fed" / f"{name}.safetensors", weights)
    return {
        name: replace(event, first_failure=failed[name].failure) for name, event in events.items()
    }


def _retry_jobs(
    blocks: Iterable[str], failed: Mapping[str, BlockTrained], workers: int
) -> tuple[Job, ...]:
    """Return a job per block; for one worker, one for all blocks that only diverged."""
    others = {candidate_of(name)[0] for name, event in failed.items() if not _diverged(event)}
    together = tuple(name for name in blocks if name not in others) if workers == 1 else ()
    alone = tuple(Job((name,)) for name in blocks if name not in together)
    return (Job(together), *alone) if together else alone


def _diverged(event: BlockTrained) -> bool:
    return is_divergence(event.failure)


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
        blocks=candidate_blocks(ctx.plan, accepted),
        micro_batches={
            name: _MICRO_BATCHES
            for name, block in accepted.items()
            if block.first_failure == OUT_OF_MEMORY
        },
        builders=candidate_builders(ctx.plan, accepted),
    )
    return _distill(ctx, assignment, ctx.log.forward)


def _distill(
    ctx: RunContext, assignment: Assignment, forward: Emit, watch: CostWatch | None = None
) -> dict[str, BlockTrained]:
    """Have the candidates of a phase trained that are not; return the events of all."""
    folder, phase, launcher = ctx.folder, assignment.phase, ctx.planned.launcher
    withdraw_split(folder)
    progress = PhaseEvents.of_run(folder, phase, forward)
    for event in finished_blocks(folder, phase).values():
        progress.see(event)

    def see(event: Event) -> None:
        progress.see(event)
        if watch is not None:
            watch.see(event)

    next_part: Assignment | None = assignment
    while next_part and not all(name in progress.blocks for name in assignment.candidates):
        launch_assignment(ctx, next_part, see)
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
