"""The bars of a Gantt chart, as the cost model predicts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.planning.cost_model import (
    chain_order,
    makespan,
    scheduled_costs,
    trained_costs,
    trained_seconds,
    worker_seconds,
    worker_shares,
)
from pbkd.planning.stage_cost import stage_load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Job, Schedule, Stage, Worker
    from pbkd.core.workload import Workload


__all__ = ["KINDS", "Bar", "job_lanes", "timeline"]

KINDS = ("teacher", "training", "transfer", "cache")


@dataclass(frozen=True)
class Bar:
    """An interval of a worker's time.

    A job alternates between its activities at every step; the bars show each activity's total, one
    after another.

    Attributes:
        worker: Rank of the worker.
        start: Seconds from the start of training.
        seconds: Duration.
        kind: One of `KINDS`.
        block: The block, if one is trained.
    """

    worker: int
    start: float
    seconds: float
    kind: str
    block: str | None = None


def timeline(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker], workload: Workload
) -> list[Bar]:
    """Return the bars of a schedule, by worker and then by time."""
    if schedule.feed == "relay":
        return list(_relay(schedule, costs, workers, workload.steps))
    start = 0.0
    bars: list[Bar] = []
    if schedule.feed == "cache":
        busy = max(worker_seconds(schedule, costs, workers)) * workload.steps
        start = makespan(schedule, costs, workers, workload) - busy
        bars = [Bar(index, 0.0, start, "cache") for index in range(len(workers))]
    free = [start] * len(workers)
    order = chain_order(costs)
    for index, job in _assignments(schedule, costs, workers):
        scale = workload.steps / workers[index].speed
        for kind, block, seconds in _parts(
            trained_costs(job, costs, order), teacher=schedule.feed == "recompute"
        ):
            bars.append(Bar(index, free[index], seconds * scale, kind, block))
            free[index] += seconds * scale
    return sorted(bars, key=lambda bar: (bar.worker, bar.start))


def job_lanes(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker], workload: Workload
) -> list[list[tuple[Job, float]]]:
    """Return each worker's jobs in the order of time, with their seconds.

    Teacher passes, transfers and cache writing before a block's training count as part of its job.
    """
    job_of = {name: job for job in schedule.jobs for name in job.blocks}
    lanes: list[dict[Job, float]] = [{} for _ in workers]
    waiting = [0.0] * len(workers)
    for bar in timeline(schedule, costs, workers, workload):
        waiting[bar.worker] += bar.seconds
        if bar.block is not None:
            job, lane = job_of[bar.block], lanes[bar.worker]
            lane[job] = lane.get(job, 0.0) + waiting[bar.worker]
            waiting[bar.worker] = 0.0
    for lane, seconds in zip(lanes, waiting, strict=True):
        if lane:
            lane[list(lane)[-1]] += seconds
    return [list(lane.items()) for lane in lanes]


def _assignments(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> Iterator[tuple[int, Job]]:
    """Yield (rank, job) in order; a shared job belongs to the worker that is free first."""
    for index, jobs in enumerate(schedule.assigned):
        for job in jobs:
            yield index, job
    _, takers = worker_shares(schedule, costs, workers)
    yield from zip(takers, schedule.shared, strict=True)


def _parts(
    trained: Sequence[BlockCost], *, teacher: bool
) -> Iterator[tuple[str, str | None, float]]:
    """Yield (kind, block, seconds per step) of the activities of a job with these blocks.

    Without a teacher pass, reading from the cache counts as part of training.
    """
    train = sum(cost.train_seconds for cost in trained)
    if teacher:
        yield "teacher", None, trained_seconds(trained) - train
    for cost in trained:
        yield "training", cost.name, cost.train_seconds + cost.read_seconds * (not teacher)


def _relay(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker], steps: int
) -> Iterator[Bar]:
    """Yield the bars of a relay; a stage starts when its first batch has arrived."""
    busy = worker_seconds(schedule, costs, workers)
    costs = scheduled_costs(schedule, costs)
    start, first = 0.0, 0
    for stage in schedule.stages:
        last = first + len(stage.job.blocks) - 1
        speed = min(workers[rank].speed for rank in stage.ranks)
        share = speed * len(stage.ranks)
        load = stage_load(costs, first, last)
        work = load.seconds / share + load.overhead * (1 / speed - 1 / share)
        parts = _stage_parts(stage, costs, first, share, work, busy[stage.ranks[0]])
        for rank in stage.ranks:
            now = start
            for kind, block, seconds in parts:
                yield Bar(rank, now, seconds * steps, kind, block)
                now += seconds * steps
        start, first = start + busy[stage.ranks[0]], last + 1


def _stage_parts(
    stage: Stage, costs: Sequence[BlockCost], first: int, share: float, work: float, busy: float
) -> list[tuple[str, str | None, float]]:
    trained = costs[first : first + len(stage.job.blocks)]
    train = sum(cost.train_seconds for cost in trained) / share
    parts: list[tuple[str, str | None, float]] = [
        ("teacher", None, work - train),
        *(("training", cost.name, cost.train_seconds / share) for cost in trained),
    ]
    if busy > work:
        parts.append(("transfer", None, busy - work))
    return parts
