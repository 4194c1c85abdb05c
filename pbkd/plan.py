"""Who trains what, and how long it should take: blocks, costs, jobs, schedules."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Block",
    "BlockCost",
    "Job",
    "Plan",
    "PlannedBlock",
    "Schedule",
    "Worker",
    "check_schedule",
    "job_seconds",
    "makespan",
    "worker_seconds",
]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A segment of the chain that may get a replacement; shapes are of one sample."""

    name: str
    position: int
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class BlockCost:
    """What one training step (one batch) of a block costs on the device of a worker at speed 1.

    `prefix_seconds` is the teacher's forward pass through every segment before the block,
    `teacher_seconds` through the block itself, `train_seconds` the replacement's forward pass,
    backward pass and update.
    """

    name: str
    prefix_seconds: float
    teacher_seconds: float
    train_seconds: float


@dataclass(frozen=True)
class Worker:
    """One process on one device. `speed` is relative: 2.0 takes half the measured seconds."""

    rank: int
    device: str = "cpu"
    threads: int = 1
    speed: float = 1.0


@dataclass(frozen=True)
class Job:
    """Blocks that one worker trains together, from one teacher pass per batch."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """Which worker runs which jobs.

    `assigned[rank]` are the jobs of that worker; once they are done it takes jobs from `shared`,
    in order, as long as there are any. Every job gets its input by running the teacher's prefix
    (the `recompute` feed).
    """

    assigned: tuple[tuple[Job, ...], ...]
    shared: tuple[Job, ...] = ()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, assigned and shared."""
        return (*(job for jobs in self.assigned for job in jobs), *self.shared)


def check_schedule(schedule: Schedule, costs: Sequence[BlockCost], workers: int) -> None:
    """Raise `ScheduleError` unless every block is in exactly one job and every rank has a row."""
    if len(schedule.assigned) != workers:
        raise ScheduleError(
            f"the schedule assigns jobs to {len(schedule.assigned)} workers, but there are"
            f" {workers}."
        )
    counts = Counter(name for job in schedule.jobs for name in job.blocks)
    wanted = [cost.name for cost in costs]
    wrong = {
        "drops": [name for name in wanted if name not in counts],
        "repeats": [name for name, count in counts.items() if count > 1],
        "invents": [name for name in counts if name not in wanted],
    }
    for verb, names in wrong.items():
        if names:
            raise ScheduleError(f"the schedule {verb} the blocks {', '.join(names)}.")


def job_seconds(job: Job, costs: Mapping[str, BlockCost]) -> float:
    """Return seconds per step at speed 1: the teacher up to the last block, and every training."""
    own = [costs[name] for name in job.blocks]
    teacher = max((cost.prefix_seconds + cost.teacher_seconds for cost in own), default=0.0)
    return teacher + sum(cost.train_seconds for cost in own)


def worker_seconds(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[float]:
    """Return each worker's busy seconds per step, in the order of `workers`.

    Shared jobs go, in order, to whichever worker is free first, as they do in a run.
    """
    by_name = {cost.name: cost for cost in costs}
    busy = [
        sum(job_seconds(job, by_name) for job in jobs) / worker.speed
        for worker, jobs in zip(workers, schedule.assigned, strict=True)
    ]
    free = [(seconds, index) for index, seconds in enumerate(busy)]
    heapq.heapify(free)
    for job in schedule.shared:
        seconds, index = heapq.heappop(free)
        busy[index] = seconds + job_seconds(job, by_name) / workers[index].speed
        heapq.heappush(free, (busy[index], index))
    return busy


def makespan(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker], steps: int = 1
) -> float:
    """Predict the seconds until the last worker is done with `steps` steps of every job."""
    return max(worker_seconds(schedule, costs, workers)) * steps


@dataclass(frozen=True)
class PlannedBlock:
    """A segment that could be replaced, what its replacement saves, and what training it costs.

    `reason` says why the teacher's segment stays; it is None where there is a replacement. `cost`
    is None where there is nothing to train.
    """

    block: Block
    reason: str | None
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    cost: BlockCost | None


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before training starts."""

    blocks: tuple[PlannedBlock, ...]
    workers: tuple[Worker, ...]
    schedule: Schedule
    steps: int
    seconds: float

    @property
    def trained(self) -> tuple[PlannedBlock, ...]:
        """The blocks that get a replacement."""
        return tuple(planned for planned in self.blocks if planned.cost is not None)

    def worker_of(self, name: str) -> int | None:
        """Return the rank that a block is assigned to; None if it waits in the shared queue."""
        for rank, jobs in enumerate(self.schedule.assigned):
            if any(name in job.blocks for job in jobs):
                return rank
        return None
