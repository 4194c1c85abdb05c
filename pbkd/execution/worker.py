"""One rank: claims jobs, feeds them from the teacher, trains them, writes what they learnt."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.config.load import load_config
from pbkd.core.process import keep_freed_memory, thread_count
from pbkd.data.batching import batches, row_batches
from pbkd.execution.context import Station
from pbkd.execution.job import blocks_start, do_job, where_blocks_start
from pbkd.execution.job_queue import claimed
from pbkd.execution.process_group import process_group
from pbkd.models.replacement import builders_of
from pbkd.plugin.registry import build_registry
from pbkd.runs.assignment import read_assignment
from pbkd.training.activation_cache import cached, open_cache
from pbkd.training.feeds import recompute
from pbkd.training.relay import RelayJob, relay_epochs, team_of
from pbkd.training.task import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pbkd.models.teacher import Given


__all__ = ["epoch_batches", "work"]


def work(folder: Path, rank: int, given: Given | None = None) -> None:
    """Do one worker's part of a blockwise phase.

    Everything it needs is in the run's `folder`, but for a teacher and data that are `given`.

    Each trained replacement is written to `folder/PHASE/NAME.safetensors`, and told of as an
    event `block`.
    """
    keep_freed_memory()
    config = load_config(file=folder / "config.yaml")
    assignment = read_assignment(folder)
    worker = assignment.workers[rank]
    registry = build_registry(config.plugins)
    builders = builders_of(config, registry)
    loss = registry.find("loss", config.distill.loss)
    with thread_count(worker.threads):
        prepared = prepare(config, registry, worker.device, given)
        station = Station(folder, rank, config, prepared, builders, loss, assignment)
        size = len(assignment.workers)
        together = size > 1 and assignment.schedule.feed != "recompute"
        group = process_group(prepared.device, rank, size, assignment.phase) if together else None
        with group or nullcontext():
            _FEEDS[assignment.schedule.feed](station)


def _work_alone(station: Station) -> None:
    """Do jobs that need nothing of other workers."""
    starts = where_blocks_start(station)
    begins = blocks_start(starts)
    for job in claimed(station.assignment.schedule, station.rank, station.assignment.phase):
        first = min(begins[name] for name in job.blocks)
        epochs = (
            recompute(
                station.prepared.feeding,
                [name for name in job.blocks if begins[name] <= epoch],
                batches,
                student_fed=station.student_fed,
            )
            for epoch, batches in enumerate(epoch_batches(station, first), first)
        )
        do_job(station, job, starts, epochs)


def _work_in_relay(station: Station) -> None:
    """Do one span of a relay."""
    schedule, prepared = station.assignment.schedule, station.prepared
    starts = where_blocks_start(station)
    dist.barrier()  # nobody may write a checkpoint before everybody has looked
    first = min(starts.values())
    relay_job = RelayJob(
        chain=prepared.feeding,
        blocks=station.assignment.blocks,
        schedule=schedule,
        batch_rows=min(station.config.batch_size, len(prepared.training.train)),
        steps=(station.epochs - first) * station.steps_per_epoch,
        student_fed=station.student_fed,
        device=prepared.device,
        dtype=prepared.dtype,
        starts=blocks_start(starts),
    )
    team = team_of(schedule, station.rank, relay_job.batch_rows)
    for job in schedule.assigned[station.rank]:
        images = epoch_batches(station, first)
        epochs = relay_epochs(relay_job, station.rank, images, station.steps_per_epoch)
        do_job(station, job, starts, epochs, team)


def _work_from_cache(station: Station) -> None:
    """Do jobs from the cache, which all workers fill first if there is none yet."""
    prepared, config, assignment = station.prepared, station.config, station.assignment
    assert assignment.cache is not None, "a cached schedule comes with its cache's name"
    cache = open_cache(
        Path(config.out) / "cache" / assignment.cache,
        list(assignment.blocks.values()),
        len(prepared.training.train),
        prepared.feeding,
        _share_of_rows(station),
        rank=station.rank,
        workers=len(assignment.workers),
        dtype=prepared.dtype,
    )
    starts = where_blocks_start(station)
    begins = blocks_start(starts)
    for job in assignment.schedule.assigned[station.rank]:
        first = min(begins[name] for name in job.blocks)
        epochs = (
            cached(
                cache,
                [assignment.blocks[name] for name in job.blocks if begins[name] <= epoch],
                row_batches(
                    prepared.training.train,
                    config.batch_size,
                    seed=config.seed,
                    epoch=epoch,
                    phase=assignment.phase,
                ),
                prepared.device,
            )
            for epoch in range(first, station.epochs)
        )
        do_job(station, job, starts, epochs)


def _share_of_rows(station: Station) -> Iterator[tuple[slice, Tensor]]:
    """Yield this worker's share of the training rows, with their images in whole batches.

    The last row is repeated where a batch is short: kernels may round by the size of a batch.
    """
    prepared, size = station.prepared, station.config.batch_size
    split = prepared.training.train
    every = torch.split(torch.arange(len(split)), size)
    for rows in every[station.rank :: len(station.assignment.workers)]:
        whole = torch.cat([rows, rows[-1:].expand(size - len(rows))])
        yield slice(int(rows[0]), int(rows[-1]) + 1), prepared.fed(split.images(whole))


def epoch_batches(station: Station, first: int = 0) -> Iterator[Iterator[Tensor]]:
    """Yield, for each epoch of the phase from the `first`, its normalised image batches.

    They depend on nothing but (seed, phase, epoch, step): every job of every worker sees the same.
    """
    prepared, config = station.prepared, station.config
    for epoch in range(first, station.epochs):
        yield (
            prepared.fed(images)
            for images, _ in batches(
                prepared.training.train,
                config.batch_size,
                seed=config.seed,
                epoch=epoch,
                augmentation=prepared.training.augment,
                phase=station.assignment.phase,
            )
        )


_FEEDS = {"recompute": _work_alone, "relay": _work_in_relay, "cache": _work_from_cache}
