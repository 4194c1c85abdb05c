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
from pbkd.runs.progress import file_checksum, first_epochs, shelf
from pbkd.training.checkpoint import due, restore, snapshot
from pbkd.training.distill import train_job
from pbkd.training.failures import divergence
from pbkd.training.learner import trainee
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pbkd.core.schedule import Job
    from pbkd.execution.context import Station
    from pbkd.training.feeds import Lessons
    from pbkd.training.learner import Trainee
    from pbkd.training.replicas import Team
    from pbkd.training.throughput import Pace


__all__ = ["blocks_start", "do_job", "where_blocks_start"]


def where_blocks_start(station: Station) -> dict[str, int]:
    """Return the epoch at which each candidate goes on, from what the run folder holds.

    One that is done starts after the last one.
    """
    assignment = station.assignment
    return first_epochs(
        station.folder,
        assignment.phase,
        assignment.candidates,
        station.epochs,
        writer="rank0" if station.rank == 0 else None,
    )


def blocks_start(starts: Mapping[str, int]) -> dict[str, int]:
    """Return the epoch at which each block goes on: that of the first of its candidates."""
    first: dict[str, int] = {}
    for name, start in starts.items():
        block, _ = candidate_of(name)
        first[block] = min(start, first.get(block, start))
    return first


def do_job(
    station: Station,
    job: Job,
    starts: Mapping[str, int],
    epochs: Iterable[Iterable[Lessons]],
    team: Team | None = None,
) -> None:
    """Train what is left of a job; its first worker keeps checkpoints, writes results and tells.

    `epochs` gives the lessons of each epoch from the job's earliest start on.
    """
    begin = time.perf_counter()
    own = [name for name in station.assignment.candidates if candidate_of(name)[0] in job.blocks]
    left = [name for name in own if starts[name] < station.epochs]
    learners = {name: _learner(station, name, starts[name], team) for name in left}
    tells = station.rank == min(
        (rank for rank, jobs in enumerate(station.assignment.schedule.assigned) if job in jobs),
        default=station.rank,
    )

    def epoch_finished(name: str, loss: float) -> None:
        if tells:
            _keep(station, name, learners[name], loss)

    pace = _begin(station, left, starts, team)
    train_job(
        learners,
        map(beating, map(pace, epochs)),
        station.loss,
        team=team,
        epoch_finished=epoch_finished,
    )
    seconds = time.perf_counter() - begin
    for name, learner in learners.items():
        if tells:
            _finish(station, name, learner, seconds)


def _begin(
    station: Station, names: Sequence[str], starts: Mapping[str, int], team: Team | None
) -> Pace:
    """Tell that a job begins; return what counts this worker's steps."""
    rows = min(station.config.batch_size, len(station.prepared.training.train))
    return begin_job(
        partial(_tell, station),
        station.assignment.phase,
        names,
        begun=min((starts[name] for name in names), default=station.epochs),
        epochs=station.epochs,
        steps=station.steps_per_epoch,
        images=round(rows * team.share) if team else rows,
    )


def _learner(station: Station, name: str, epoch: int, team: Team | None) -> Trainee:
    """Build a candidate and its training, as they are at the start of `epoch`."""
    of, index = candidate_of(name)
    block, builder = station.assignment.blocks[of], station.builders[index]
    segment = station.prepared.chain[block.position]
    replacement = build_replacement(builder, segment, block, station.config.seed)
    if replacement is None:
        raise PluginError(f"{named('builder', builder)} no longer replaces '{of}'.")
    read_replacement(station.folder / station.assignment.start, replacement, name)
    if team is not None:
        team.share_norms(replacement)
    learner = trainee(
        replacement.to(station.prepared.device),
        lr=station.config.distill.lr * station.assignment.rates.get(name, 1),
        weight_decay=station.config.distill.weight_decay,
        steps=station.epochs * station.steps_per_epoch,
        dtype=station.prepared.dtype,
        optimiser=station.config.distill.optimiser,
    )
    learner.pieces = station.assignment.pieces.get(name, 1)
    if epoch:
        tensors, facts = shelf(station.folder, station.assignment.phase, name).read(epoch)
        restore(tensors, facts, learner)
        learner.losses.extend(facts["losses"])
        if reason := divergence(learner.losses):
            learner.fail(reason)
    return learner


def _keep(station: Station, name: str, learner: Trainee, loss: float) -> None:
    """Keep a checkpoint after an epoch, where one is due, and tell of the epoch."""
    phase, epoch = station.assignment.phase, len(learner.losses)
    if due(epoch, station.epochs, station.steps_per_epoch):
        tensors, facts = snapshot(learner)
        facts["losses"] = learner.losses
        shelf(station.folder, phase, name).write(epoch, tensors, facts)
    _tell(station, f"{phase} epoch", block=name, epoch=epoch, loss=loss)


def _finish(station: Station, name: str, learner: Trainee, seconds: float) -> None:
    """Write a block's weights, unless it failed, and tell that it is done."""
    phase = station.assignment.phase
    path = station.folder / phase / f"{name}.safetensors"
    if learner.failure is None:
        write_weights(path, learner.replacement.state_dict())
    _tell(station, "block", phase=phase, block=name, job_seconds=seconds, losses=learner.losses,
          failure=learner.failure, checksum=file_checksum(path))  # fmt: skip


def _tell(station: Station, event: str, **facts: object) -> None:
    record(station.folder, f"rank{station.rank}", event, worker=station.rank, **facts)
