"""Who trains what, and how long it should take: blocks, costs, jobs, schedules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost


__all__ = ["FEEDS", "Job", "Schedule", "Stage", "Worker", "check_schedule"]

FEEDS = ("recompute", "relay", "cache")


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
