"""How long a schedule should take: the one model by which plans are made and compared.

Seconds are for a worker at speed 1 unless a worker is given. Sending and receiving are counted as
work of the worker that does it, which they are on a CPU; of one that can overlap, as on an
accelerator, only where they take longer than its work.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from pbkd.plan import Workload
from pbkd.stages import crew_of, stage_load, stage_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.plan import BlockCost, Job, Schedule, Worker
    from pbkd.stages import StageLoad, StageParts

__all__ = ["job_seconds", "makespan", "relay_parts", "stage_seconds", "worker_seconds"]

_ONE_STEP = Workload(steps=1, distinct_steps=1)


def job_seconds(job: Job, costs: Sequence[BlockCost], *, teacher: bool = True) -> float:
    """Return seconds per step: the teacher up to the job's last block, and every training.

    Without the `teacher`, activations are read instead; a boundary of two blocks counts twice.
    """
    own = [cost for cost in costs if cost.name in job.blocks]
    train = sum(cost.train_seconds for cost in own)
    if not teacher:
        return train + sum(cost.read_seconds for cost in own)
    return train + max((cost.prefix_seconds + cost.teacher_seconds for cost in own), default=0.0)


def stage_seconds(
    load: StageLoad[float],
    workers: Sequence[Worker],
    before: Sequence[Worker] = (),
    after: Sequence[Worker] = (),
) -> float:
    """Return the seconds per step of a stage with this load, between those before and after it."""
    return stage_parts(load, crew_of(workers, before, after)).seconds


def relay_parts(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[StageParts[float]]:
    """Return where the seconds of a step go, in each stage of a relay."""
    crews = [[workers[rank] for rank in stage.ranks] for stage in schedule.stages]
    parts, first = [], 0
    for stage, before, own, after in zip(
        schedule.stages, [[], *crews], crews, [*crews[1:], []], strict=False
    ):
        last = first + len(stage.job.blocks) - 1
        parts.append(stage_parts(stage_load(costs, first, last), crew_of(own, before, after)))
        first = last + 1
    return parts


def worker_seconds(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[float]:
    """Return each worker's busy seconds per step, in the order of `workers`.

    Shared jobs go, in order, to whichever worker is free first, as they do in a run.
    """
    if schedule.feed == "relay":
        return _relay_seconds(schedule, costs, workers)
    teacher = schedule.feed == "recompute"
    busy = [
        sum(job_seconds(job, costs, teacher=teacher) for job in jobs) / worker.speed
        for worker, jobs in zip(workers, schedule.assigned, strict=True)
    ]
    free = [(seconds, index) for index, seconds in enumerate(busy)]
    heapq.heapify(free)
    for job in schedule.shared:
        seconds, index = heapq.heappop(free)
        busy[index] = seconds + job_seconds(job, costs, teacher=teacher) / workers[index].speed
        heapq.heappush(free, (busy[index], index))
    return busy


def makespan(
    schedule: Schedule,
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload = _ONE_STEP,
) -> float:
    """Predict the seconds until the last worker is done with every step of every job.

    A relay also takes the seconds until its last stage has its first batch; a cache those of the
    teacher's pass over every image, of which all workers take equal shares.
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
    parts = relay_parts(schedule, costs, workers)
    for stage, own in zip(schedule.stages, parts, strict=True):
        for rank in stage.ranks:
            busy[rank] = own.seconds
    return busy
