"""One job on one worker: resumed from its checkpoints, trained, and written to the run folder."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of
from pbkd.core.events import BlockTrained, EpochDone, JobStarted, StepsTimed
from pbkd.execution.heartbeat import heartbeat_per_item
from pbkd.models.rebuilding import rebuild
from pbkd.models.replacement import read_replacement
from pbkd.models.weights import write_weights
from pbkd.runs.events import record_event
from pbkd.runs.progress import checkpoint_store, file_checksum, first_epochs
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.checkpoint import is_checkpoint_due, restore, snapshot
from pbkd.training.distill import train_job
from pbkd.training.failures import divergence_reason
from pbkd.training.learner import new_learner
from pbkd.training.loss_watch import LossWatch
from pbkd.training.random_stream import RandomStream
from pbkd.training.step_times import StepTimes
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

    from pbkd.core.events import Event
    from pbkd.core.schedule import Job
    from pbkd.execution.context import WorkerContext
    from pbkd.execution.early_end import EarlyEnd
    from pbkd.training.feeds import Lessons
    from pbkd.training.learner import Learner
    from pbkd.training.replicas import ReplicaGroup
    from pbkd.training.throughput import Pace


__all__ = ["block_starts", "candidate_starts", "run_job"]


def candidate_starts(context: WorkerContext) -> dict[str, int]:
    """Return the epoch from which each candidate resumes, as the run folder says.

    A finished candidate starts after the last epoch.
    """
    assignment = context.assignment
    return first_epochs(
        context.folder,
        assignment.phase,
        assignment.candidates,
        context.epochs,
        writer="rank0" if context.rank == 0 else None,
    )


def block_starts(starts: Mapping[str, int]) -> dict[str, int]:
    """Return the epoch from which each block resumes: the earliest among its candidates."""
    earliest: dict[str, int] = {}
    for name, start in starts.items():
        block, _ = candidate_of(name)
        earliest[block] = min(start, earliest.get(block, start))
    return earliest


def run_job(
    context: WorkerContext,
    job: Job,
    starts: Mapping[str, int],
    epochs: Iterable[Iterable[Lessons]],
    end: EarlyEnd,
    replicas: ReplicaGroup | None = None,
) -> None:
    """Train the rest of a job; its first worker writes checkpoints, results and events.

    A job that ends early leaves checkpoints instead of results.

    Args:
        context: This worker's context.
        job: The blocks to train.
        starts: First epoch by candidate, from `candidate_starts`.
        epochs: The lessons of each epoch, from the job's earliest start on.
        end: Tells after which epoch `epochs` ends early.
        replicas: The workers that share this job's batches, if any.

    Raises:
        PluginError: A builder no longer replaces a block that it replaced before.
    """
    begin = time.perf_counter()
    names = [
        name
        for name in context.assignment.candidates
        if candidate_of(name)[0] in job.blocks and starts[name] < context.epochs
    ]
    learners = {name: _build_learner(context, name, starts[name], replicas) for name in names}
    losses = apply_to_blocks(context.loss, context.task.chain, context.task.dtype)
    is_writer = context.rank == _writer_rank(context, job)
    count_steps = _record_begin(context, names, starts, replicas)
    train_job(
        learners,
        map(heartbeat_per_item, map(count_steps, epochs)),
        {name: losses[candidate_of(name)[0]] for name in names},
        replicas=replicas,
        epoch_finished=partial(_write_epoch, context, learners, end)
        if is_writer
        else _ignore_epoch,
        times=_step_times(context) if replicas is None else None,
    )
    if is_writer:
        seconds = time.perf_counter() - begin
        for name, block in learners.items():
            if block.failure is not None or len(block.losses) == context.epochs:
                _write_result(context, name, block, seconds)


def _step_times(context: WorkerContext) -> StepTimes | None:
    """Time the first steps of jobs whose blocks may be split anew: those on whole batches."""
    assignment = context.assignment
    if assignment.phase != "teacher-fed" or len(assignment.workers) == 1:
        return None

    def record(times: StepTimes) -> None:
        event = StepsTimed(
            worker=context.rank,
            phase=assignment.phase,
            teacher=times.teacher,
            training=times.training,
        )
        _record(context, event)

    return StepTimes(context.task.feeding, context.task.device, record)


def _writer_rank(context: WorkerContext, job: Job) -> int:
    """Return the first of the workers that a job is assigned to; this one for a shared job."""
    assigned = enumerate(context.assignment.schedule.assigned)
    return min((rank for rank, jobs in assigned if job in jobs), default=context.rank)


def _record_begin(
    context: WorkerContext,
    names: Sequence[str],
    starts: Mapping[str, int],
    replicas: ReplicaGroup | None,
) -> Pace:
    """Record that a job begins; return the function that counts this worker's steps."""
    rows = min(context.batch_size, len(context.task.training.train))
    job = JobStarted(
        worker=context.rank,
        phase=context.assignment.phase,
        blocks=tuple(names),
        begun=min((starts[name] for name in names), default=context.epochs),
        epochs=context.epochs,
        steps=context.steps_per_epoch,
        images=round(rows * replicas.share) if replicas else rows,
    )
    return begin_job(job, partial(_record, context))


def _build_learner(
    context: WorkerContext, name: str, epoch: int, replicas: ReplicaGroup | None
) -> Learner:
    """Build a candidate and its optimiser in their state at the start of `epoch`."""
    replacement = _build_candidate(context, name)
    if replicas is not None:
        replicas.share_norms(replacement)
    assignment, optimisation = context.assignment, context.optimisation
    block = new_learner(
        replacement.to(context.task.device),
        replace(optimisation, lr=optimisation.lr * assignment.rates.get(name, 1)),
        steps=context.epochs * context.steps_per_epoch,
        dtype=context.task.dtype,
    )
    rank = replicas.rows.rank if replicas else 0
    block.random = RandomStream(context.task.device, context.seed, assignment.phase, name, rank)
    block.micro_batches = assignment.micro_batches.get(name, 1)
    block.watch = LossWatch(context.epochs * context.steps_per_epoch, context.steps_per_epoch)
    if epoch:
        store = checkpoint_store(context.folder, assignment.phase, name)
        tensors, facts = store.read(epoch)
        restore(tensors, facts, block)
        block.losses.extend(facts["losses"])
        block.watch.start = facts["start"]
        block.watch.seen = epoch * context.steps_per_epoch
        if reason := divergence_reason(block.losses):
            block.fail(reason)
    return block


def _build_candidate(context: WorkerContext, name: str) -> nn.Module:
    """Build a candidate's module with the weights from which the phase starts."""
    block_name, _ = candidate_of(name)
    block, builder = context.assignment.blocks[block_name], context.builders[name]
    segment = context.task.chain[block.position]
    replacement = rebuild(builder, segment, block, context.seed)
    return read_replacement(context.folder / context.assignment.start, replacement, name)


def _ignore_epoch(_name: str, _loss: float) -> None:
    pass


def _write_epoch(
    context: WorkerContext, learners: Mapping[str, Learner], end: EarlyEnd, name: str, loss: float
) -> None:
    """Write a checkpoint after an epoch, if one is due or the job ends, and record the epoch."""
    block = learners[name]
    phase, epoch = context.assignment.phase, len(block.losses)
    if end.is_after(epoch) or is_checkpoint_due(epoch, context.epochs, context.steps_per_epoch):
        tensors, facts = snapshot(block)
        facts |= {"losses": block.losses, "start": block.watch.start if block.watch else None}
        checkpoint_store(context.folder, phase, name).write(epoch, tensors, facts)
    event = EpochDone(worker=context.rank, phase=phase, block=name, epoch=epoch, loss=loss)
    _record(context, event)


def _write_result(context: WorkerContext, name: str, block: Learner, seconds: float) -> None:
    """Write a candidate's weights, unless it failed, and record that it is finished."""
    phase = context.assignment.phase
    path = context.folder / phase / f"{name}.safetensors"
    if block.failure is None:
        write_weights(path, block.replacement.state_dict())
    event = BlockTrained(
        worker=context.rank,
        phase=phase,
        block=name,
        job_seconds=seconds,
        losses=tuple(block.losses),
        failure=block.failure,
        checksum=file_checksum(path),
    )
    _record(context, event)


def _record(context: WorkerContext, event: Event) -> None:
    record_event(context.folder, f"rank{context.rank}", event)
