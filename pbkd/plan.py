"""Who trains what, and how long it should take: blocks, costs, jobs, schedules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "FEEDS",
    "STEPS_BETWEEN",
    "Block",
    "BlockCost",
    "Job",
    "Plan",
    "PlannedBlock",
    "Schedule",
    "Stage",
    "Worker",
    "Workload",
    "candidate_name",
    "candidate_of",
    "check_schedule",
    "sum_costs",
]

Shape = tuple[int, ...]
FEEDS = ("recompute", "relay", "cache")
STEPS_BETWEEN = 100
"""At least so many training steps lie between two checkpoints."""


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
    backward pass and update. `input_bytes` is the block's input of one batch. Workers that share
    batches also add up `parameter_bytes` of gradients, and wait for each other `exchanges` times;
    of the block's and its training's seconds `overhead_seconds` do not shrink with the batch.
    `read_seconds` is what a batch of its input and output takes to be read from a cache in memory.
    A batch has so many `rows`, 0 where that is not known; no more workers can share it.
    """

    name: str
    prefix_seconds: float
    teacher_seconds: float
    train_seconds: float
    input_bytes: int = 0
    parameter_bytes: int = 0
    exchanges: int = 0
    overhead_seconds: float = 0.0
    read_seconds: float = 0.0
    rows: int = 0


@dataclass(frozen=True)
class Worker:
    """One process on one device.

    `speed` is relative: 2.0 takes half the measured seconds. `bandwidth` is in bytes per second
    and `latency` in seconds per message, to or from any other worker, but for those of the same
    `node`: neighbours in rank, which are reached at `node_bandwidth` and `node_latency`, and share
    the `bandwidth` to other nodes. A worker without the name of a node is alone on its own. One
    that can `overlap` sends and receives while it computes.
    """

    rank: int
    device: str = "cpu"
    threads: int = 1
    speed: float = 1.0
    bandwidth: float = 1e9
    latency: float = 1e-3
    node: str = ""
    node_bandwidth: float = 1e9
    node_latency: float = 1e-3
    overlap: bool = False


def sum_costs(costs: Sequence[BlockCost]) -> list[BlockCost]:
    """Return the costs of blocks whose candidates are trained together, in the order given.

    The teacher's pass and the reading serve all candidates of a block; their training adds up.
    """
    together: dict[str, BlockCost] = {}
    for cost in costs:
        before = together.get(cost.name)
        together[cost.name] = cost if before is None else _with_training_of(before, cost)
    return list(together.values())


def _with_training_of(cost: BlockCost, other: BlockCost) -> BlockCost:
    return replace(
        cost,
        train_seconds=cost.train_seconds + other.train_seconds,
        parameter_bytes=cost.parameter_bytes + other.parameter_bytes,
        exchanges=cost.exchanges + other.exchanges,
        overhead_seconds=cost.overhead_seconds + other.overhead_seconds,
    )


@dataclass(frozen=True)
class Job:
    """Blocks that one worker trains together, from one teacher pass per batch."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """A span of a relay and the workers that share it."""

    job: Job
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """Which worker runs which jobs, and where their activations come from.

    `feed="recompute"`: `assigned[rank]` are the jobs of that worker; once they are done it takes
    jobs from `shared`, in order, as long as there are any. Each job runs the teacher's prefix.
    `feed="relay"`: a worker has one job or none, a span of neighbouring blocks; spans follow each
    other in the order of ranks, and each is fed by the one before. Neighbours with the same job
    are replicas, which share its batches.
    `feed="cache"`: as `recompute`, but activations are written once and read from then on.
    """

    assigned: tuple[tuple[Job, ...], ...]
    shared: tuple[Job, ...] = ()
    feed: str = "recompute"

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All different jobs, assigned and shared; replicas count once."""
        jobs = (*(job for jobs in self.assigned for job in jobs), *self.shared)
        return tuple(dict.fromkeys(jobs)) if self.feed == "relay" else jobs

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of a relay, in the order of the chain."""
        ranks: dict[Job, list[int]] = {}
        for rank, jobs in enumerate(self.assigned):
            for job in jobs:
                ranks.setdefault(job, []).append(rank)
        return tuple(Stage(job, tuple(owners)) for job, owners in ranks.items())


def check_schedule(schedule: Schedule, costs: Sequence[BlockCost], workers: int) -> None:
    """Raise `ScheduleError` unless every block is in exactly one job and every rank has a row."""
    if not isinstance(schedule, Schedule):
        raise ScheduleError(f"it gives {type(schedule).__name__}, not a pbkd.Schedule.")
    if not all(
        isinstance(job, Job) for jobs in (*schedule.assigned, schedule.shared) for job in jobs
    ):
        raise ScheduleError("the schedule's jobs are not all of the type pbkd.Job.")
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
    if schedule.feed not in FEEDS:
        raise ScheduleError(f"the schedule's feed '{schedule.feed}' is none of {', '.join(FEEDS)}.")
    if schedule.feed == "relay":
        _check_relay(schedule, wanted)


def _check_relay(schedule: Schedule, wanted: Sequence[str]) -> None:
    """Raise `ScheduleError` unless the stages are the chain, cut into spans, in ranks' order."""
    order = [name for stage in schedule.stages for name in stage.job.blocks]
    ranks = [rank for stage in schedule.stages for rank in stage.ranks]
    if schedule.shared or any(len(jobs) > 1 for jobs in schedule.assigned):
        raise ScheduleError("in a relay a worker has one job, and none is shared.")
    if order != list(wanted) or ranks != sorted(ranks):
        raise ScheduleError(
            f"a relay's spans must follow the chain in the order of ranks, but are {order}."
        )


def candidate_name(block: str, index: int) -> str:
    """Return the name of a block's candidate; the first has the block's own.

    A segment's name holds no dot, since torch refuses one in the name of a module.
    """
    return f"{block}.{index}" if index else block


def candidate_of(name: str) -> tuple[str, int]:
    """Return the block of a candidate and the candidate's index."""
    block, _, index = name.partition(".")
    return block, int(index or 0)


@dataclass(frozen=True)
class PlannedBlock:
    """A candidate for a segment's place: what it saves, and what training it costs.

    With one builder a block has one candidate, of the block's own name. `reason` says why there is
    no replacement; it is None where there is one. `cost` is None where there is nothing to train.
    Seconds are those of a forward pass of one batch, None where the budget is not one of latency.
    """

    name: str
    builder: Mapping[str, Any]
    block: Block
    reason: str | None
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    cost: BlockCost | None
    seconds_before: float | None = None
    seconds_after: float | None = None


@dataclass(frozen=True)
class Workload:
    """How many steps every block is trained, and how many of them show images not seen before."""

    steps: int
    distinct_steps: int


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before training starts.

    `blocks` holds every candidate of every block, in the order of the chain. `why` says why this
    scheduler's schedule was taken, where there was a choice. `cache` names the folder of the
    teacher's activations, where they are cached. `other_seconds` is what a forward pass takes in
    the segments that have no candidate, where the budget is one of latency.
    """

    blocks: tuple[PlannedBlock, ...]
    workers: tuple[Worker, ...]
    schedule: Schedule
    workload: Workload
    seconds: float
    scheduler: str
    why: str
    cache: str | None
    other_seconds: float | None = None

    @property
    def trained(self) -> tuple[PlannedBlock, ...]:
        """The candidates that are trained."""
        return tuple(planned for planned in self.blocks if planned.cost is not None)

    def worker_of(self, name: str) -> int | None:
        """Return the rank that a block is assigned to; None if it waits in the shared queue."""
        for rank, jobs in enumerate(self.schedule.assigned):
            if any(name in job.blocks for job in jobs):
                return rank
        return None
