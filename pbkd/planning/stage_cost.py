"""Cost model of one stage of a relay: its load, its workers, and the seconds that result.

Sending and receiving count as the worker's own work, as they are on a CPU. A worker that overlaps
communication with computing, as an accelerator does, only waits where they take longer than its
work.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker


__all__ = [
    "Link",
    "StageLoad",
    "StageParts",
    "StageWorkers",
    "stage_load",
    "stage_parts",
    "stage_seconds",
    "stage_workers",
]

T = TypeVar("T", float, "np.ndarray[Any, np.dtype[Any]]")


@dataclass(frozen=True, kw_only=True)
class StageLoad(Generic[T]):
    """Work of one step of a stage, for a single worker at speed 1; numbers or arrays of them.

    Attributes:
        seconds: Seconds of the teacher and of training, including `overhead`.
        overhead: The part of `seconds` that does not shrink with the batch.
        received: Bytes of the stage's input.
        receives: Number of messages that bring it.
        sent: Bytes of the next stage's input.
        sends: Number of messages that carry it.
        gradients: Bytes of gradients, all-reduced if the stage is replicated.
        exchanges: Number of synchronisations of the replicas.
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
    """A link's bandwidth in bytes per second and its latency in seconds per message."""

    bandwidth: T
    latency: T


@dataclass(frozen=True, kw_only=True)
class StageWorkers(Generic[T]):
    """The replicas of a stage as one group; numbers or arrays of them.

    Attributes:
        size: Number of workers.
        speed: Speed of the slowest.
        replicas: The link between the workers of the group.
        inlet: The link to the previous stage, with the bandwidth of all workers together.
        outlet: The link to the next stage, likewise.
        overlap: 1 if all workers communicate while they compute, otherwise 0.
    """

    size: int
    speed: T
    replicas: Link[T]
    inlet: Link[T]
    outlet: Link[T]
    overlap: T


@dataclass(frozen=True, kw_only=True)
class StageParts(Generic[T]):
    """Seconds of one step of a stage, by activity.

    With overlap, receiving and sending are only the seconds that the workers have to wait for.

    Attributes:
        work: Teacher and training, the part that shrinks with the batch.
        overhead: Teacher and training, the part that does not.
        receiving: Receiving the input.
        sending: Sending the output.
        gradients: Transfer of gradients in the all-reduce.
        waiting: Latency of the replicas' synchronisations.
    """

    work: T
    overhead: T
    receiving: T
    sending: T
    gradients: T
    waiting: T

    @property
    def computing(self) -> T:
        """Seconds of the teacher and of training."""
        seconds: T = self.work + self.overhead
        return seconds

    @property
    def seconds(self) -> T:
        """Seconds of all activities."""
        moving: T = self.receiving + self.sending
        seconds: T = self.computing + moving + self.gradients + self.waiting
        return seconds


def stage_load(costs: Sequence[BlockCost], first: int, last: int) -> StageLoad[float]:
    """Return the load of a stage with the blocks `first` to `last` (inclusive) of `costs`.

    The stage receives its first block's input, runs the teacher from there to the first block of
    the next stage, and sends that block's input.
    """
    end = last + 1
    start = costs[first].prefix_seconds if first else 0.0
    if end < len(costs):
        stop, sent = costs[end].prefix_seconds, costs[end].input_bytes
    else:
        stop, sent = costs[last].prefix_seconds + costs[last].teacher_seconds, 0
    blocks = costs[first:end]
    return StageLoad(
        seconds=stop - start + sum(cost.train_seconds for cost in blocks),
        overhead=sum(cost.overhead_seconds for cost in blocks),
        received=costs[first].input_bytes if first else 0,
        receives=float(first > 0),
        sent=sent,
        sends=float(end < len(costs)),
        gradients=sum(cost.parameter_bytes for cost in blocks),
        exchanges=sum(cost.exchanges for cost in blocks),
    )


def stage_parts(load: StageLoad[T], group: StageWorkers[T]) -> StageParts[T]:
    """Return the seconds per step of a stage by activity; inputs may be numbers or arrays.

    The replicas of a stage take equal parts of each batch, so that the slowest sets the pace, and
    all-reduce their gradients.
    """
    work = (load.seconds - load.overhead) / group.size / group.speed
    overhead = load.overhead / group.speed
    shared = float(group.size > 1)
    gradients = shared * 2 * load.gradients / group.replicas.bandwidth
    waiting = shared * load.exchanges * group.replicas.latency
    receiving = load.received / group.inlet.bandwidth + load.receives * group.inlet.latency
    sending = load.sent / group.outlet.bandwidth + load.sends * group.outlet.latency
    if np.any(group.overlap):
        meanwhile = work + overhead + gradients + waiting
        longest = np.maximum(receiving, meanwhile)
        receiving = receiving - group.overlap * np.minimum(receiving, meanwhile)
        sending = sending - group.overlap * np.minimum(sending, longest)
    return StageParts(
        work=work,
        overhead=overhead,
        receiving=receiving,
        sending=sending,
        gradients=gradients,
        waiting=waiting,
    )


def stage_workers(
    workers: Sequence[Worker], before: Sequence[Worker] = (), after: Sequence[Worker] = ()
) -> StageWorkers[float]:
    """Combine the replicas of a stage into one group; `before` and `after` are its neighbours."""
    return StageWorkers(
        size=len(workers),
        speed=min(worker.speed for worker in workers),
        replicas=_link(workers, 1, same_node=_on_one_node(workers)),
        inlet=_link_to_stage(workers, before),
        outlet=_link_to_stage(workers, after),
        overlap=float(all(worker.overlap for worker in workers)),
    )


def stage_seconds(
    load: StageLoad[float],
    workers: Sequence[Worker],
    before: Sequence[Worker] = (),
    after: Sequence[Worker] = (),
) -> float:
    """Return the seconds per step of a stage with this load on these workers."""
    return stage_parts(load, stage_workers(workers, before, after)).seconds


def _link_to_stage(workers: Sequence[Worker], others: Sequence[Worker]) -> Link[float]:
    """Return the link to another stage: one per worker within a node, otherwise one per node.

    Between nodes, the node with the most workers, and so the most samples, is the bottleneck.
    """
    if others and _on_one_node([*workers, *others]):
        return _link(workers, len(workers), same_node=True)
    nodes = groupby(workers, key=lambda worker: worker.node)
    most = max(len(list(group)) if node else 1 for node, group in nodes)
    return _link(workers, len(workers) / most, same_node=False)


def _link(workers: Sequence[Worker], lanes: float, *, same_node: bool) -> Link[float]:
    if same_node:
        bandwidth = min(worker.node_bandwidth for worker in workers)
        return Link(lanes * bandwidth, max(worker.node_latency for worker in workers))
    bandwidth = min(worker.bandwidth for worker in workers)
    return Link(lanes * bandwidth, max(worker.latency for worker in workers))


def _on_one_node(workers: Sequence[Worker]) -> bool:
    return workers[0].node != "" and len({worker.node for worker in workers}) == 1
