"""One job on a worker: trained from where it was left, kept as it goes, written when it is done."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.errors import PluginError
from pbkd.execution.heartbeat import beating
from pbkd.models.replacement import build_replacement, read_replacement
from pbkd.models.weights import write_weights
from pbkd.plugin.attribution import named
from pbkd.runs.events import record
from pbkd.runs.progress import checkpoint_store, file_checksum, first_epochs
from pbkd.training.checkpoint import is_checkpoint_due, restore, snapshot
from pbkd.training.distill import train_job
from pbkd.training.failures import divergence
from pbkd.training.learner import trainee
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pbkd.core.schedule import Job
    from pbkd.execution.context import WorkerContext
    from pbkd.training.feeds import Lessons
    from pbkd.training.learner import Trainee
    from pbkd.training.replicas import ReplicaGroup
    from pbkd.training.throughput import Pace


__all__ = ["blocks_start", "do_job", "where_blocks_start"]


def where_blocks_start(context: WorkerContext) -> dict[str, int]:
    """Return the epoch at which each candidate goes on, from what the run folder holds.

    One that is done starts after the last one.
    """
    assignment = context.assignment
    return first_epochs(
        context.folder,
        assignment.phase,
        assignment.candidates,
        context.epochs,
        writer="rank0" if context.rank == 0 else None,
    )


def blocks_start(starts: Mapping[str, int]) -> dict[str, int]:
    """Return the epoch at which each block goes on: that of the first of its candidates."""
    first: dict[str, int] = {}
    for name, start in starts.items():
        block, _ = candidate_of(name)
        first[block] = min(start, first.get(block, start))
    return first


def do_job(
    context: WorkerContext,
    job: Job,
    starts: Mapping[str, int],
    epochs: Iterable[Iterable[Lessons]],
    replicas: ReplicaGroup | None = None,
) -> None:
    """Train what is left of a job; its first worker keeps checkpoints, writes results and tells.

    `epochs` gives the lessons of each epoch from the job's earliest start on.
    """
    begin = time.perf_counter()
    own = [name for name in context.assignment.candidates if candidate_of(name)[0] in job.blocks]
    left = [name for name in own if starts[name] < context.epochs]
    learners = {name: _learner(context, name, starts[name], replicas) for name in left}
    tells = context.rank == min(
        (rank for rank, jobs in enumerate(context.assignment.schedule.assigned) if job in jobs),
        default=context.rank,
    )

    def epoch_finished(name: str, loss: float) -> None:
        if tells:
            _keep(context, name, learners[name], loss)

    pace = _begin(context, left, starts, replicas)
    train_job(
        learners,
        map(beating, map(pace, epochs)),
        context.loss,
        replicas=replicas,
        epoch_finished=epoch_finished,
    )
    seconds = time.perf_counter() - begin
    for name, learner in learners.items():
        if tells:
            _finish(context, name, learner, seconds)


def _begin(
    context: WorkerContext,
    names: Sequence[str],
    starts: Mapping[str, int],
    replicas: ReplicaGroup | None,
) -> Pace:
    """Tell that a job begins; return what counts this worker's steps."""
    rows = min(context.config.batch_size, len(context.task.training.train))
    return begin_job(
        partial(_tell, context),
        context.assignment.phase,
        names,
        begun=min((starts[name] for name in names), default=context.epochs),
        epochs=context.epochs,
        steps=context.steps_per_epoch,
        images=round(rows * replicas.share) if replicas else rows,
    )


def _learner(
    context: WorkerContext, name: str, epoch: int, replicas: ReplicaGroup | None
) -> Trainee:
    """Build a candidate and its training, as they are at the start of `epoch`."""
    of, index = candidate_of(name)
    block, builder = context.assignment.blocks[of], context.builders[index]
    segment = context.task.chain[block.position]
    replacement = build_replacement(builder, segment, block, context.config.seed)
    if replacement is None:
        raise PluginError(f"{named('builder', builder)} no longer replaces '{of}'.")
    read_replacement(context.folder / context.assignment.start, replacement, name)
    if replicas is not None:
        replicas.share_norms(replacement)
    learner = trainee(
        replacement.to(context.task.device),
        lr=context.config.distill.lr * context.assignment.rates.get(name, 1),
        weight_decay=context.config.distill.weight_decay,
        steps=context.epochs * context.steps_per_epoch,
        dtype=context.task.dtype,
        optimiser=context.config.distill.optimiser,
    )
    learner.micro_batches = context.assignment.micro_batches.get(name, 1)
    if epoch:
        tensors, facts = checkpoint_store(context.folder, context.assignment.phase, name).read(
            epoch
        )
        restore(tensors, facts, learner)
        learner.losses.extend(facts["losses"])
        if reason := divergence(learner.losses):
            learner.fail(reason)
    return learner


def _keep(context: WorkerContext, name: str, learner: Trainee, loss: float) -> None:
    """Keep a checkpoint after an epoch, where one is due, and tell of the epoch."""
    phase, epoch = context.assignment.phase, len(learner.losses)
    if is_checkpoint_due(epoch, context.epochs, context.steps_per_epoch):
        tensors, facts = snapshot(learner)
        facts["losses"] = learner.losses
        checkpoint_store(context.folder, phase, name).write(epoch, tensors, facts)
    _tell(context, f"{phase} epoch", block=name, epoch=epoch, loss=loss)


def _finish(context: WorkerContext, name: str, learner: Trainee, seconds: float) -> None:
    """Write a block's weights, unless it failed, and tell that it is done."""
    phase = context.assignment.phase
    path = context.folder / phase / f"{name}.safetensors"
    if learner.failure is None:
        write_weights(path, learner.replacement.state_dict())
    _tell(context, "block", phase=phase, block=name, job_seconds=seconds, losses=learner.losses,
          failure=learner.failure, checksum=file_checksum(path))  # fmt: skip


def _tell(context: WorkerContext, event: str, **facts: object) -> None:
    record(context.folder, f"rank{context.rank}", event, worker=context.rank, **facts)
