"""The procedures that `pbkd bench` compares, as one rank runs them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from pbkd.execution.job_queue import claim_jobs
from pbkd.training.checkpoint import CheckpointStore, snapshot
from pbkd.training.feeds import from_cache, recompute
from pbkd.training.relay import RelayJob, relay_epochs, replicas_of

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.bench.rig import Rig
    from pbkd.core.schedule import Schedule
    from pbkd.training.activation_cache import ActivationCache
    from pbkd.training.relay import CreateGroup

__all__ = ["checkpoint_seconds", "run_cache", "run_jobs", "run_relay"]


def checkpoint_seconds(rig: Rig, folder: Path) -> float:
    """Return the seconds to write a checkpoint of every trained block, as runs do."""
    start = time.perf_counter()
    for name, trained in rig.learners.items():
        tensors, facts = snapshot(trained)
        CheckpointStore(folder, name).write(1, tensors, facts)
    return time.perf_counter() - start


def run_jobs(rig: Rig, schedule: Schedule, steps: int, queue: str) -> None:
    """Run this rank's jobs, each with a teacher pass of its own, then claim jobs of the queue."""
    for job in claim_jobs(schedule, rig.rank, queue):
        rig.train(job.blocks, recompute(rig.chain, job.blocks, rig.batches(steps)))


def run_relay(rig: Rig, schedule: Schedule, steps: int, create_group: CreateGroup) -> None:
    """Run this rank's stage of a relay."""
    rows = len(rig.images[0])
    device = rig.images[0].device
    job = RelayJob(
        chain=rig.chain,
        blocks=rig.blocks,
        schedule=schedule,
        batch_rows=rows,
        steps=steps,
        student_fed=False,
        device=device,
    )
    replicas = replicas_of(schedule, rig.rank, rows, create_group, device)
    for assigned in schedule.assigned[rig.rank]:
        for lessons in relay_epochs(job, rig.rank, [rig.batches(steps)], steps):
            rig.train(assigned.blocks, lessons, replicas)


def run_cache(rig: Rig, schedule: Schedule, steps: int, cache: ActivationCache) -> None:
    """Run this rank's jobs from the cache, with the batches of shuffled epochs."""
    rows = len(rig.images[0])
    count = rows * len(rig.images)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(count, generator=generator) for _ in range(-(-steps * rows // count))]
    batches = torch.split(torch.cat(orders), rows)[:steps]
    for job in schedule.assigned[rig.rank]:
        blocks = [rig.blocks[name] for name in job.blocks]
        rig.train(job.blocks, from_cache(cache, blocks, batches, rig.images[0].device))
