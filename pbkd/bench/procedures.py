"""The procedures that `pbkd bench` compares, as each rank runs its part of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.cache import cached
from pbkd.distill import Trainee, train_job, trainee
from pbkd.feed import recompute
from pbkd.loss import LOSSES
from pbkd.relay import RelayJob, relay_epochs, team_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pbkd.cache import Cache
    from pbkd.feed import Lessons
    from pbkd.plan import Block, Job, Schedule

__all__ = ["Rig", "run_cache", "run_jobs", "run_relay"]


@dataclass
class Rig:
    """One rank's copy of what is measured: teacher, replacements, images.

    `images` are the distinct batches, gone through again and again. `ticket` counts, over all
    ranks, the shared jobs that were claimed.
    """

    chain: nn.Sequential
    replacements: Mapping[str, nn.Module]
    blocks: Mapping[str, Block]
    images: list[Tensor]
    rank: int
    trainees: dict[str, Trainee] = field(default_factory=dict)

    def batches(self, steps: int) -> Iterator[Tensor]:
        """Yield so many batches."""
        return itertools.islice(itertools.cycle(self.images), steps)

    def train(self, names: Iterable[str], lessons: Iterable[Lessons]) -> None:
        """Train these blocks on one epoch of lessons."""
        train_job({name: self._trainee(name) for name in names}, [lessons], LOSSES["nmse"])

    def _trainee(self, name: str) -> Trainee:
        if name not in self.trainees:
            self.trainees[name] = trainee(
                self.replacements[name], lr=1e-3, weight_decay=0.0, steps=1_000_000
            )
        return self.trainees[name]


def run_jobs(rig: Rig, schedule: Schedule, steps: int, ticket: Callable[[], int]) -> None:
    """Run this rank's jobs, each with its own teacher prefix, then claim shared ones."""
    for job in itertools.chain(schedule.assigned[rig.rank], _claimed(schedule, ticket)):
        rig.train(job.blocks, recompute(rig.chain, job.blocks, rig.batches(steps)))


def _claimed(schedule: Schedule, ticket: Callable[[], int]) -> Iterator[Job]:
    while schedule.shared and (index := ticket()) < len(schedule.shared):
        yield schedule.shared[index]


def run_relay(rig: Rig, schedule: Schedule, steps: int) -> None:
    """Run this rank's span of a relay."""
    rows = len(rig.images[0])
    device = rig.images[0].device
    job = RelayJob(rig.chain, rig.blocks, schedule, rows, steps, student_fed=False, device=device)
    team_of(schedule, rig.rank, rows)
    for own in schedule.assigned[rig.rank]:
        for lessons in relay_epochs(job, rig.rank, [rig.batches(steps)], steps):
            rig.train(own.blocks, lessons)


def run_cache(rig: Rig, schedule: Schedule, steps: int, cache: Cache) -> None:
    """Run this rank's jobs from the cache, with rows drawn as a shuffled epoch draws them."""
    rows = len(rig.images[0])
    count = rows * len(rig.images)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(count, generator=generator) for _ in range(-(-steps * rows // count))]
    batches = torch.split(torch.cat(orders), rows)[:steps]
    for job in schedule.assigned[rig.rank]:
        blocks = [rig.blocks[name] for name in job.blocks]
        rig.train(job.blocks, cached(cache, blocks, batches, rig.images[0].device))
