"""Schedules: which worker trains which blocks, and where their input comes from."""

from __future__ import annotations

from collections import Counter
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from pbkd.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost


__all__ = [
    "FEEDS",
    "MOST_SHARING_MEMORY",
    "Job",
    "Schedule",
    "Stage",
    "Worker",
    "check_schedule",
    "share_of",
]

MOST_SHARING_MEMORY = 16
"""Most workers that add up in shared memory: the first holds the sockets of all pairs at first."""

_MOST_NAMES = 20  # in a message
FEEDS = ("recompute", "relay", "cache")
"""Where a worker's activations come from, see `Schedule`."""


@dataclass(frozen=True)
class Worker:
    """One process on one device.

    Attributes:
        rank: Number of the worker, from 0.
        device: The device, as torch names it.
        threads: CPU threads.
        speed: Relative speed: 2.0 takes half the measured seconds.
        bandwidth: Bytes per second to and from workers of other nodes, shared by the workers of
            this node.
        latency: Seconds per message to and from workers of other nodes.
        node: Name of the machine; workers of one node are neighbours in rank. A worker without a
            name is on a separate machine.
        node_bandwidth: Bytes per second between workers of this node.
        node_latency: Seconds per message between workers of this node.
        overlap: Whether it sends and receives while it computes.
        shares_memory: Whether it and others of its machine add up gradients in shared memory.
    """

    rank: int
    device: str = "cpu"
    threads: int = 1
    _: KW_ONLY
    speed: float = 1.0
    bandwidth: float = 1e9
    latency: float = 1e-3
    node: str = ""
    node_bandwidth: float = 1e9
    node_latency: float = 1e-3
    overlap: bool = False
    shares_memory: bool = False


@dataclass(frozen=True)
class Job:
    """Blocks that a worker trains together, from one forward pass of the teacher per batch.

    Attributes:
        blocks: Names of the blocks.
    """

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """A span of neighbouring blocks in a relay.

    Attributes:
        job: The blocks.
        ranks: The workers that train them; several are replicas, which share every batch.
    """

    job: Job
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """Which worker runs which jobs, and where their activations come from.

    Feeds:

    - `recompute`: each job runs the teacher's prefix itself.
    - `relay`: a worker has at most one job, a span of neighbouring blocks, and receives its input
      from the stage before it (teacher relay of Pipe-BD, arXiv:2301.12443). Spans follow the chain
      in the order of ranks. Neighbours with the same job are replicas, which share each batch.
    - `cache`: as `recompute`, but activations are written to disk once and read from then on.

    Attributes:
        assigned: By rank, the jobs of that worker.
        shared: Jobs that any worker takes, in order, once its assigned jobs are done.
        feed: One of `FEEDS`.
    """

    assigned: tuple[tuple[Job, ...], ...]
    shared: tuple[Job, ...] = ()
    feed: str = "recompute"

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, assigned and shared; replicas count once."""
        jobs = (*(job for jobs in self.assigned for job in jobs), *self.shared)
        return tuple(dict.fromkeys(jobs)) if self.feed == "relay" else jobs

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of a relay, in chain order."""
        ranks: dict[Job, list[int]] = {}
        for rank, jobs in enumerate(self.assigned):
            for job in jobs:
                ranks.setdefault(job, []).append(rank)
        return tuple(Stage(job, tuple(owners)) for job, owners in ranks.items())


def share_of(count: int, index: int, speeds: Sequence[float]) -> slice:
    """Return one worker's share of things in a row, in proportion to its speed.

    Args:
        count: Number of things.
        index: The worker, as an index of `speeds`.
        speeds: The speeds of all workers, whose shares follow each other.
    """
    start, stop = (round(count * sum(speeds[:end]) / sum(speeds)) for end in (index, index + 1))
    return slice(start, stop)


def check_schedule(schedule: Schedule, costs: Sequence[BlockCost], workers: int) -> None:
    """Check what a scheduler returned.

    Args:
        schedule: The schedule.
        costs: Costs of the blocks to schedule, in chain order.
        workers: Number of workers.

    Raises:
        ScheduleError: A block is not in exactly one job, a rank has no entry, a relay is not a
            chain of spans, or more workers share a batch than can.
    """
    if not isinstance(schedule, Schedule):
        raise ScheduleError(f"it returns {type(schedule).__name__}, not a pbkd.Schedule.")
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
    expected = dict.fromkeys(cost.name for cost in costs)
    wrong = {
        "drops": [name for name in expected if name not in counts],
        "repeats": [name for name, count in counts.items() if count > 1],
        "invents": [name for name in counts if name not in expected],
    }
    for verb, names in wrong.items():
        if names:
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            shown = ", ".join(names[:_MOST_NAMES])
            raise ScheduleError(f"the schedule {verb} the blocks {shown}{more}.")
    if schedule.feed not in FEEDS:
        raise ScheduleError(f"the schedule's feed '{schedule.feed}' is none of {', '.join(FEEDS)}.")
    if schedule.feed == "relay":
        _check_relay(schedule, list(expected))
        _check_replicas(schedule, costs)


def _check_relay(schedule: Schedule, expected: list[str]) -> None:
    """Raise `ScheduleError` unless the stages are spans of the chain, in the order of ranks."""
    order = [name for stage in schedule.stages for name in stage.job.blocks]
    ranks = [rank for stage in schedule.stages for rank in stage.ranks]
    if schedule.shared or any(len(jobs) > 1 for jobs in schedule.assigned):
        raise ScheduleError("in a relay a worker has one job, and none is shared.")
    if order != expected or ranks != sorted(ranks):
        raise ScheduleError(
            f"a relay's spans must follow the chain in the order of ranks, but are {order}."
        )


def _check_replicas(schedule: Schedule, costs: Sequence[BlockCost]) -> None:
    """Raise `ScheduleError` if more workers share the batches of a stage than its blocks allow."""
    rows = {cost.name: cost.rows for cost in costs if cost.rows}
    for stage in schedule.stages:
        most = min((rows[name] for name in stage.job.blocks if name in rows), default=0)
        if most and len(stage.ranks) > most:
            raise ScheduleError(
                f"the schedule lets {len(stage.ranks)} workers share the batches of"
                f" {', '.join(stage.job.blocks[:_MOST_NAMES])}, but at most {most} can: a batch has"
                " no more rows, or its loss needs it whole."
            )
