"""The procedures that `pbkd bench` compares, as each rank runs its part of them."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.execution.job_queue import claim_jobs
from pbkd.training.checkpoint import CheckpointStore, snapshot
from pbkd.training.distill import train_job
from pbkd.training.feeds import from_cache, recompute
from pbkd.training.learner import Trainee, trainee
from pbkd.training.relay import RelayJob, relay_epochs, replicas_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.core.schedule import Schedule
    from pbkd.protocols import Loss
    from pbkd.training.activation_cache import ActivationCache
    from pbkd.training.feeds import Lessons
    from pbkd.training.replicas import ReplicaGroup

__all__ = ["Rig", "checkpoint_seconds", "run_cache", "run_jobs", "run_relay"]


@dataclass
class Rig:
    """One rank's copy of what is measured: teacher, replacements, images.

    `images` are the distinct batches, gone through again and again.
    """

    chain: nn.Sequential
    replacements: Mapping[str, nn.Module]
    blocks: Mapping[str, Block]
    images: list[Tensor]
    loss: Loss
    rank: int
    trainees: dict[str, Trainee] = field(default_factory=dict)

    def batches(self, steps: int) -> Iterator[Tensor]:
        """Yield so many batches."""
        return itertools.islice(itertools.cycle(self.images), steps)

    def train(
        self, names: Iterable[str], lessons: Iterable[Lessons], replicas: ReplicaGroup | None = None
    ) -> None:
        """Train these blocks on one epoch of lessons, with a team where their span has one."""
        trainees = {name: self._trainee(name, replicas) for name in names}
        train_job(trainees, [lessons], self.loss, replicas=replicas)

    def _trainee(self, name: str, replicas: ReplicaGroup | None) -> Trainee:
        if replicas is not None:
            replacement = copy.deepcopy(self.replacements[name])
            replicas.share_norms(replacement)
            return _trainee(replacement)
        if name not in self.trainees:
            self.trainees[name] = _trainee(self.replacements[name])
        return self.trainees[name]


def checkpoint_seconds(rig: Rig, folder: Path) -> float:
    """Return the seconds of keeping a checkpoint of every block that was trained, as runs do."""
    start = time.perf_counter()
    for name, own in rig.trainees.items():
        tensors, facts = snapshot(own)
        CheckpointStore(folder, name).write(1, tensors, facts)
    return time.perf_counter() - start


def _trainee(replacement: nn.Module) -> Trainee:
    return trainee(replacement, lr=1e-3, weight_decay=0.0, steps=1_000_000)


def run_jobs(rig: Rig, schedule: Schedule, steps: int, queue: str) -> None:
    """Run this rank's jobs, each with its own teacher prefix, then claim those of the queue."""
    for job in claim_jobs(schedule, rig.rank, queue):
        rig.train(job.blocks, recompute(rig.chain, job.blocks, rig.batches(steps)))


def run_relay(rig: Rig, schedule: Schedule, steps: int) -> None:
    """Run this rank's span of a relay."""
    rows = len(rig.images[0])
    device = rig.images[0].device
    job = RelayJob(rig.chain, rig.blocks, schedule, rows, steps, student_fed=False, device=device)
    replicas = replicas_of(schedule, rig.rank, rows)
    for own in schedule.assigned[rig.rank]:
        for lessons in relay_epochs(job, rig.rank, [rig.batches(steps)], steps):
            rig.train(own.blocks, lessons, replicas)


def run_cache(rig: Rig, schedule: Schedule, steps: int, cache: ActivationCache) -> None:
    """Run this rank's jobs from the cache, with rows drawn as a shuffled epoch draws them."""
    rows = len(rig.images[0])
    count = rows * len(rig.images)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(count, generator=generator) for _ in range(-(-steps * rows // count))]
    batches = torch.split(torch.cat(orders), rows)[:steps]
    for job in schedule.assigned[rig.rank]:
        blocks = [rig.blocks[name] for name in job.blocks]
        rig.train(job.blocks, from_cache(cache, blocks, batches, rig.images[0].device))
