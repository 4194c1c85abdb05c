"""Messages between the stages of a relay, and the links that they occupy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pbkd.core.schedule import Worker


__all__ = ["Message", "Port", "message_between", "node_of"]

Port = tuple[str, str]
"""A direction, `out` or `in`, and a node: one direction of the node's link to other nodes."""


@dataclass(frozen=True)
class Message:
    """The seconds for which a message occupies each port; its parts are sent in parallel.

    Attributes:
        ports: Seconds on each port between nodes.
        inside: Seconds of the parts within a node, where every device has its own link.
        latency: Seconds from the end of the transfer until all parts have arrived.
    """

    ports: Mapping[Port, float]
    inside: float
    latency: float

    @property
    def seconds(self) -> float:
        """Seconds on the busiest link."""
        return max([self.inside, *self.ports.values()])


def message_between(replicas: Sequence[Worker], others: Sequence[Worker], size: float) -> Message:
    """Return a message of `size` bytes, whose rows are split evenly over either stage's workers."""
    ports: dict[Port, float] = {}
    inside: dict[int, float] = {}
    latency = 0.0
    for sender, receiver, share in _pairs(replicas, others):
        nodes = node_of(sender), node_of(receiver)
        if nodes[0] == nodes[1]:
            bandwidth = min(sender.node_bandwidth, receiver.node_bandwidth)
            for rank in (sender.rank, receiver.rank):
                inside[rank] = inside.get(rank, 0.0) + share * size / bandwidth
            latency = max(latency, sender.node_latency, receiver.node_latency)
        else:
            seconds = share * size / min(sender.bandwidth, receiver.bandwidth)
            for port in (("out", nodes[0]), ("in", nodes[1])):
                ports[port] = ports.get(port, 0.0) + seconds
            latency = max(latency, sender.latency, receiver.latency)
    return Message(ports, max(inside.values(), default=0.0), latency)


def node_of(worker: Worker) -> str:
    """Return the worker's node; a worker without one has a node to itself."""
    return worker.node or f"worker {worker.rank}"


def _pairs(
    replicas: Sequence[Worker], others: Sequence[Worker]
) -> Iterator[tuple[Worker, Worker, float]]:
    """Yield (sender, receiver, fraction of all rows)."""
    mine = theirs = done = 0
    while mine < len(replicas):
        ends = (mine + 1) * len(others), (theirs + 1) * len(replicas)
        yield replicas[mine], others[theirs], (min(ends) - done) / (len(replicas) * len(others))
        done = min(ends)
        mine, theirs = mine + (ends[0] == done), theirs + (ends[1] == done)
