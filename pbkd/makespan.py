"""How long a schedule should take: the one model by which plans are made and compared.

Seconds are for a worker at speed 1 unless a worker is given. Sending and receiving are counted as
work of the worker that does it, which they are on a CPU; on an accelerator they overlap, and the
prediction errs on the slow side.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, TypeVar

from pbkd.plan import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pbkd.plan import BlockCost, Job, Schedule, Worker

__all__ = ["job_seconds", "makespan", "stage_load", "stage_seconds", "worker_seconds"]

_ONE_STEP = Workload(steps=1, distinct_steps=1)

T = TypeVar("T", float, "np.ndarray[Any, np.dtype[np.float64]]")


def job_seconds(job: Job, costs: Sequence[BlockCost], *, teacher: bool = True) -> float:
    """Return seconds per step: the teacher up to the job's last block, and every training.

    Without the `teacher`, activations are read instead; a boundary of two blocks counts twice.
    """
    own = [cost for cost in costs if cost.name in job.blocks]
    train = sum(cost.train_seconds for cost in own)
    if not teacher:
        return train + sum(cost.read_seconds for cost in own)
    return train + max((cost.prefix_seconds + cost.teacher_seconds for cost in own), default=0.0)


def stage_load(
    costs: Sequence[BlockCost], first: int, last: int
) -> tuple[float, float, float, float, float, float]:
    """Return a stage's load per step.

    Seconds, messages, bytes sent, gradient bytes, exchanges, and how many of the seconds do not
    shrink with the batch.

    The stage has the blocks `first` to `last` of `costs`. It runs the teacher from its first
    block up to the next stage's first, receives the input of the one and sends that of the other.
    """
    end = last + 1
    start = costs[first].prefix_seconds if first else 0.0
    if end < len(costs):
        stop, sent = costs[end].prefix_seconds, costs[end].input_bytes
    else:
        stop, sent = costs[last].prefix_seconds + costs[last].teacher_seconds, 0
    train = sum(cost.train_seconds for cost in costs[first:end])
    received = costs[first].input_bytes if first else 0
    gradients = sum(cost.parameter_bytes for cost in costs[first:end])
    exchanges = sum(cost.exchanges for cost in costs[first:end])
    messages = (first > 0) + (end < len(costs))
    overhead = sum(cost.overhead_seconds for cost in costs[first:end])
    return stop - start + train, messages, received + sent, gradients, exchanges, overhead


def stage_seconds(load: tuple[T, T, T, T, T, T], workers: Sequence[Worker]) -> T:
    """Return the seconds per step of a stage with this load (numbers, or arrays of them).

    Its workers share each batch in equal parts, so the slowest sets the pace, and, where there
    are several, add up their gradients and wait for each other at every exchange.
    """
    seconds, messages, moved, gradients, exchanges, overhead = load
    speed = min(worker.speed for worker in workers)
    bandwidth = min(worker.bandwidth for worker in workers)
    latency = max(worker.latency for worker in workers)
    if len(workers) == 1:
        return seconds / speed + moved / bandwidth + messages * latency
    divided = ((seconds - overhead) / speed + moved / bandwidth) / len(workers)
    shared = divided + overhead / speed + messages * latency
    return shared + 2 * gradients / bandwidth + exchanges * latency


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
    teacher's pass over every image, shared by all workers.
    """
    busy = worker_seconds(schedule, costs, workers)
    seconds = max(busy) * workload.steps
    if schedule.feed == "relay":
        return seconds + sum(busy[stage.ranks[0]] for stage in schedule.stages) - max(busy)
    if schedule.feed == "cache":
        teacher = max(cost.prefix_seconds + cost.teacher_seconds for cost in costs)
        return seconds + teacher * workload.distinct_steps / sum(w.speed for w in workers)
    return seconds


def _relay_seconds(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[float]:
    busy = [0.0] * len(workers)
    first = 0
    for stage in schedule.stages:
        last = first + len(stage.job.blocks) - 1
        load = stage_load(costs, first, last)
        seconds = stage_seconds(load, [workers[rank] for rank in stage.ranks])
        for rank in stage.ranks:
            busy[rank] = seconds
        first = last + 1
    return busy
