"""How long a schedule should take: the one model by which plans are made and compared.

Seconds are for a worker at speed 1 unless a worker is given. Sending and receiving are counted as
work of the worker that does it, which they are on a CPU; of one that can overlap, as on an
accelerator, only where they take longer than its work.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from pbkd.planning.plan import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Job, Schedule, Worker


__all__ = [
    "Link",
    "StageLoad",
    "StageParts",
    "StageWorkers",
    "job_seconds",
    "makespan",
    "relay_parts",
    "stage_load",
    "stage_parts",
    "stage_seconds",
    "stage_workers",
    "worker_seconds",
]

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
    return stage_parts(load, stage_workers(workers, before, after)).seconds


def relay_parts(
    schedule: Schedule, costs: Sequence[BlockCost], workers: Sequence[Worker]
) -> list[StageParts[float]]:
    """Return where the seconds of a step go, in each stage of a relay."""
    groups = [[workers[rank] for rank in stage.ranks] for stage in schedule.stages]
    parts, first = [], 0
    for stage, before, own, after in zip(
        schedule.stages, [[], *groups], groups, [*groups[1:], []], strict=False
    ):
        last = first + len(stage.job.blocks) - 1
        parts.append(stage_parts(stage_load(costs, first, last), stage_workers(own, before, after)))
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


T = TypeVar("T", float, "np.ndarray[Any, np.dtype[Any]]")


@dataclass(frozen=True)
class StageLoad(Generic[T]):
    """What one step of a stage asks for, from a worker at speed 1 that has it alone.

    Of the `seconds` of teacher and training, `overhead` do not shrink with the batch. `receives`
    and `sends` count messages, of `received` and `sent` bytes. Workers that share the stage add up
    `gradients` bytes and wait for each other `exchanges` times.
    """

    seconds: T
    overhead: T
    received: T
    receives: T
    sent: T
    sends: T
    gradients: T
    exchanges: T


@dataclass(frozen=True)
class Link(Generic[T]):
    """A link's bytes per second, and seconds per message."""

    bandwidth: T
    latency: T


@dataclass(frozen=True)
class StageWorkers(Generic[T]):
    """The workers that share a stage: the slowest one's speed, and links.

    `replicas` is the link among them; `inlet` and `outlet` lead to the stages before and after, as
    wide as all of them together. `overlap` is 1 where all send and receive while they compute.
    """

    size: int
    speed: T
    replicas: Link[T]
    inlet: Link[T]
    outlet: Link[T]
    overlap: T


@dataclass(frozen=True)
class StageParts(Generic[T]):
    """The seconds of a step of a stage, by what they are spent on, one after another.

    Of workers that can overlap only what they have to wait for counts as receiving and sending.
    """

    work: T
    overhead: T
    receiving: T
    sending: T
    gradients: T
    waiting: T

    @property
    def computing(self) -> T:
        """Those of the teacher and of training."""
        seconds: T = self.work + self.overhead
        return seconds

    @property
    def seconds(self) -> T:
        """All of them."""
        moving: T = self.receiving + self.sending
        seconds: T = self.computing + moving + self.gradients + self.waiting
        return seconds


def stage_load(costs: Sequence[BlockCost], first: int, last: int) -> StageLoad[float]:
    """Return the load of a stage that has the blocks `first` to `last` of `costs`.

    It runs the teacher from its first block up to the next stage's first, receives the input of
    the one and sends that of the other.
    """
    end = last + 1
    start = costs[first].prefix_seconds if first else 0.0
    if end < len(costs):
        stop, sent = costs[end].prefix_seconds, costs[end].input_bytes
    else:
        stop, sent = costs[last].prefix_seconds + costs[last].teacher_seconds, 0
    own = costs[first:end]
    return StageLoad(
        seconds=stop - start + sum(cost.train_seconds for cost in own),
        overhead=sum(cost.overhead_seconds for cost in own),
        received=costs[first].input_bytes if first else 0,
        receives=float(first > 0),
        sent=sent,
        sends=float(end < len(costs)),
        gradients=sum(cost.parameter_bytes for cost in own),
        exchanges=sum(cost.exchanges for cost in own),
    )


def stage_parts(load: StageLoad[T], group: StageWorkers[T]) -> StageParts[T]:
    """Return where the seconds of a step go; load and workers are numbers, or arrays of them.

    A stage's workers share each batch in equal parts, so the slowest sets the pace, and, where
    there are several, add up their gradients and wait for each other at every exchange.
    """
    work = (load.seconds - load.overhead) / group.size / group.speed
    overhead = load.overhead / group.speed
    shared = float(group.size > 1)
    gradients = shared * 2 * load.gradients / group.replicas.bandwidth
    waiting = shared * load.exchanges * group.replicas.latency
    receiving = load.received / group.inlet.bandwidth + load.receives * group.inlet.latency
    sending = load.sent / group.outlet.bandwidth + load.sends * group.outlet.latency
    meanwhile = work + overhead + gradients + waiting
    return StageParts(
        work=work,
        overhead=overhead,
        receiving=receiving - group.overlap * np.minimum(receiving, meanwhile),
        sending=sending - group.overlap * np.minimum(sending, np.maximum(receiving, meanwhile)),
        gradients=gradients,
        waiting=waiting,
    )


def stage_workers(
    workers: Sequence[Worker], before: Sequence[Worker] = (), after: Sequence[Worker] = ()
) -> StageWorkers[float]:
    """Return the workers of a stage as one, between those of the stages before and after it."""
    return StageWorkers(
        len(workers),
        min(worker.speed for worker in workers),
        _link(workers, 1, inside=_together(workers)),
        _outside(workers, before),
        _outside(workers, after),
        float(all(worker.overlap for worker in workers)),
    )


def _outside(workers: Sequence[Worker], others: Sequence[Worker]) -> Link[float]:
    """Return the link to another stage: within a node one of each worker, else one of each node.

    The node that has most of the workers, and so most of the rows, decides how wide that is.
    """
    if others and _together([*workers, *others]):
        return _link(workers, len(workers), inside=True)
    nodes = groupby(workers, key=lambda worker: worker.node)
    most = max(len(list(group)) if node else 1 for node, group in nodes)
    return _link(workers, len(workers) / most, inside=False)


def _link(workers: Sequence[Worker], lanes: float, *, inside: bool) -> Link[float]:
    if inside:
        bandwidth = min(worker.node_bandwidth for worker in workers)
        return Link(lanes * bandwidth, max(worker.node_latency for worker in workers))
    bandwidth = min(worker.bandwidth for worker in workers)
    return Link(lanes * bandwidth, max(worker.latency for worker in workers))


def _together(workers: Sequence[Worker]) -> bool:
    return workers[0].node != "" and len({worker.node for worker in workers}) == 1
