"""A message from one stage to the next: seconds on the links of the nodes that it crosses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pbkd.core.schedule import Worker


__all__ = ["Message", "Port", "message_between", "node_of"]

Port = tuple[str, str]
"""`out` or `in`, and a node: one way of its link to other nodes."""


@dataclass(frozen=True)
class Message:
    """The seconds for which a message takes each port; its parts go at the same time.

    What stays in a node takes no port, since each device there has a link of its own, but the
    seconds `inside`. All has arrived `latency` after that.
    """

    ports: Mapping[Port, float]
    inside: float
    latency: float

    @property
    def seconds(self) -> float:
        """Those for which the busiest link is taken."""
        return max([self.inside, *self.ports.values()])


def message_between(replicas: Sequence[Worker], others: Sequence[Worker], size: float) -> Message:
    """Return the message of so many bytes, whose rows each stage shares evenly."""
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
    """Return the worker's node; one without is alone on its own."""
    return worker.node or f"worker {worker.rank}"


def _pairs(
    replicas: Sequence[Worker], others: Sequence[Worker]
) -> Iterator[tuple[Worker, Worker, float]]:
    """Yield who sends rows to whom, and which share of all."""
    mine = theirs = done = 0
    while mine < len(replicas):
        ends = (mine + 1) * len(others), (theirs + 1) * len(replicas)
        yield replicas[mine], others[theirs], (min(ends) - done) / (len(replicas) * len(others))
        done = min(ends)
        mine, theirs = mine + (ends[0] == done), theirs + (ends[1] == done)
