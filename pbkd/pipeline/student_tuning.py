"""Fine-tuning on all workers, as the host sees it: assign, launch, read the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule
from pbkd.errors import WorkerError
from pbkd.pipeline.launching import (
    PhaseEvents,
    candidate_blocks,
    candidate_builders,
    launch_assignment,
)
from pbkd.plugin.attribution import describe_strategy
from pbkd.runs.assignment import FINE_TUNING, STUDENT, Assignment
from pbkd.runs.events import flush_events
from pbkd.runs.progress import checkpoint_store
from pbkd.training.best_state import finished_training, newest_checkpoint, write_start

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import nn

    from pbkd.core.schedule import Worker
    from pbkd.pipeline.context import RunContext
    from pbkd.training.best_state import BestState


__all__ = ["tune_on_workers"]


def tune_on_workers(
    ctx: RunContext,
    student: nn.Module,
    score: float,
    accepted: Collection[str],
    workers: Sequence[Worker],
    epochs: tuple[int, int],
) -> BestState:
    """Fine-tune the student on several workers, which share every batch.

    Args:
        ctx: The run.
        student: The student; it gets the state after its best epoch.
        score: Its validation score.
        accepted: The candidates that are in it.
        workers: The workers.
        epochs: The epochs of earlier rounds, and those with this one.

    Returns:
        The best state.

    Raises:
        WorkerError: If the launcher fails, or leaves the student untrained.
    """
    folder = ctx.folder
    store = checkpoint_store(folder, FINE_TUNING, STUDENT, writer="host")
    if newest_checkpoint(store, student) is None:
        write_start(store, student, score)
    result = finished_training(store, student, epochs[1])
    if result is None:
        _launch(ctx, accepted, workers, epochs)
        result = finished_training(store, student, epochs[1])
    if result is None:
        launcher = describe_strategy("launcher", ctx.planned.launcher)
        raise WorkerError(f"{launcher} ended, but nobody fine-tuned the student.")
    flush_events(folder)
    student.load_state_dict(result.state)
    return result


def _launch(
    ctx: RunContext,
    accepted: Collection[str],
    workers: Sequence[Worker],
    epochs: tuple[int, int],
) -> None:
    assignment = Assignment(
        phase=FINE_TUNING,
        start="",
        workers=tuple(workers),
        schedule=Schedule(((Job((STUDENT,)),),) * len(workers), feed="relay"),
        blocks=candidate_blocks(ctx.plan, accepted),
        builders=candidate_builders(ctx.plan, accepted),
        part=epochs[0],
        epochs=epochs,
    )
    progress = PhaseEvents.of_run(ctx.folder, FINE_TUNING, ctx.log.forward, epochs[0])
    launch_assignment(ctx, assignment, progress.see)
