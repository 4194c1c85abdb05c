"""Cost model of schedules: the predicted seconds by which plans are made and compared.

Seconds without a worker assume a worker at speed 1.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from pbkd.core.workload import Workload
from pbkd.planning.stage_cost import stage_load, stage_parts, stage_workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Job, Schedule, Worker
    from pbkd.planning.stage_cost import StageParts


__all__ = [
    "chain_order",
    "job_seconds",
    "makespan",
    "relay_parts",
    "scheduled_costs",
    "trained_costs",
    "trained_seconds",
    "worker_seconds",
    "worker_shares",
]

_ONE_STEP = Workload(steps=1, distinct_steps=1)


def job_seconds(job: Job, costs: Sequence[BlockCost], *, teacher: bool = True) -> float:
    """Return the seconds per step of a job on a worker at speed 1.

    Args:
        job: The blocks that are trained together.
        costs: Costs per step of all blocks.
        teacher: Whether the job runs the teacher up to its last block. If not, it reads cached
            activations; one that two blocks share is counted twice.

    Returns:
        Seconds for the teacher, or for reading, and for training every block of the job.
    """
    return trained_seconds(trained_costs(job, costs, chain_order(costs)), teacher=teacher)


def chain_order(costs: Sequence[BlockCost]) -> dict[str, int]:
    """Return each block's place in the chain."""
    return {cost.name: index for index, cost in enumerate(costs)}


def trained_costs(
    job: Job, costs: Sequence[BlockCost], order: Mapping[str, int]
) -> list[BlockCost]:
    """Return the costs of a job's blocks in the order of the chain, which is `chain_order`."""
    return [costs[index] for index in sorted({order[name] for name in job.blocks})]


def trained_seconds(trained: Sequence[BlockCost], *, teacher: bool = True) -> float:
    """Return the `job_seconds` of a job with these blocks."""
    train = sum(cost.train_seconds for cost in trained)
    if not teacher:
        return train + sum(cost.read_seconds for cost in trained)
    return train + max(
        (cost.prefix_seconds + cost.teacher_seconds for cost in trained), default=0.0
    )


def scheduled_costs(schedule: Schedule, costs: Sequence[BlockCost]) -> list[BlockCost]:
    """Return the costs of the blocks that are in a schedule, in the order of the chain.

    A schedule of the rest of a phase has the unfinished blocks only.
    """
    names = {name for job in schedule.jobs for name in job.blocks}
    return [cost for cost in costs if cost.name in names]


def relay_parts(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[StageParts[float]]:
    """Return the seconds per step of each stage of a relay, by activity."""
    costs = scheduled_costs(schedule, costs)
    groups = [[workers[rank] for rank in stage.ranks] for stage in schedule.stages]
    parts, first = [], 0
    for stage, before, group, after in zip(
        schedule.stages, [[], *groups], groups, [*groups[1:], []], strict=False
    ):
        last = first + len(stage.job.blocks) - 1
        load = stage_load(costs, first, last)
        parts.append(stage_parts(load, stage_workers(group, before, after)))
        first = last + 1
    return parts


def worker_seconds(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[float]:
    """Return each worker's busy seconds per step, in the order of `workers`.

    Shared jobs go, in order, to the worker that is free first, as they do in a run.
    """
    return worker_shares(schedule, costs, workers)[0]


def worker_shares(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> tuple[list[float], list[int]]:
    """Return the `worker_seconds`, and which worker takes each shared job."""
    if schedule.feed == "relay":
        return _relay_seconds(schedule, costs, workers), []
    teacher, order = schedule.feed == "recompute", chain_order(costs)

    def seconds_of(job: Job) -> float:
        return trained_seconds(trained_costs(job, costs, order), teacher=teacher)

    busy = [
        sum(map(seconds_of, jobs)) / worker.speed
        for worker, jobs in zip(workers, schedule.assigned, strict=True)
    ]
    takers = []
    free = [(seconds, index) for index, seconds in enumerate(busy)]
    heapq.heapify(free)
    for job in schedule.shared:
        seconds, index = heapq.heappop(free)
        busy[index] = seconds + seconds_of(job) / workers[index].speed
        heapq.heappush(free, (busy[index], index))
        takers.append(index)
    return busy, takers


def makespan(
    schedule: Schedule,
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload = _ONE_STEP,
) -> float:
    """Predict the seconds until the last worker has finished.

    A relay also needs the seconds until its last stage has the first batch; a cache also needs the
    teacher's pass over every image, shared equally by all workers.

    Args:
        schedule: A valid schedule of all blocks.
        costs: Costs per step, in the order of the chain.
        workers: The workers, ordered by rank.
        workload: The number of training steps; by default one.

    Returns:
        The makespan, in seconds.
    """
    busy = worker_seconds(schedule, costs, workers)
    seconds = max(busy) * workload.steps
    if schedule.feed == "relay":
        return seconds + sum(busy[stage.ranks[0]] for stage in schedule.stages) - max(busy)
    if schedule.feed == "cache":
        teacher = max(cost.prefix_seconds + cost.teacher_seconds for cost in costs)
        slowest = min(worker.speed for worker in workers)
        return seconds + teacher * workload.distinct_steps / (slowest * len(workers))
    return seconds


def _relay_seconds(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[float]:
    busy = [0.0] * len(workers)
    parts_by_stage = relay_parts(schedule, costs, workers)
    for stage, parts in zip(schedule.stages, parts_by_stage, strict=True):
        for rank in stage.ranks:
            busy[rank] = parts.seconds
    return busy
