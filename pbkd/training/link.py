"""Activations from worker to worker: receives posted ahead, sends that nobody waits for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pbkd.training.feeds import Pair


__all__ = ["Outlet", "Rows", "receive", "rows_of", "shared_rows"]

_AHEAD = 2  # batches on their way over a link at a time, which bounds its buffers


@dataclass(frozen=True)
class Rows:
    """The rows of every batch that one rank works on."""

    rank: int
    start: int
    stop: int


def rows_of(ranks: Sequence[int], batch: int) -> list[Rows]:
    """Split a batch's rows evenly over the ranks that share it."""
    edges = [batch * index // len(ranks) for index in range(len(ranks) + 1)]
    return [Rows(rank, *edges[i : i + 2]) for i, rank in enumerate(ranks)]


def shared_rows(mine: Rows, theirs: Sequence[Rows]) -> list[Rows]:
    """Return which of my rows each of the others has too, counted from my first."""
    return [
        Rows(other.rank, max(mine.start, other.start) - mine.start,
             min(mine.stop, other.stop) - mine.start)
        for other in theirs
        if max(mine.start, other.start) < min(mine.stop, other.stop)
    ]  # fmt: skip


def receive(
    peers: Sequence[Rows],
    shape: Sequence[int],
    steps: int,
    device: torch.device,
    *,
    streams: int,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Pair]:
    """Yield the pair of activations of each step, put together from what `peers` send.

    `shape` is of one sample. With one stream the teacher's activation is the student's too.
    """
    waiting: deque[tuple[list[Tensor], list[dist.Work]]] = deque()
    count = max(peer.stop for peer in peers)
    for step in range(steps + _AHEAD):
        if step < steps:
            waiting.append(_post(peers, (count, *shape), device, streams, dtype))
        if step >= _AHEAD:
            tensors, works = waiting.popleft()
            for work in works:
                work.wait()
            pair = [_unpacked(tensor) for tensor in tensors]
            yield pair[0], pair[-1]


class Outlet:
    """Sends pairs of activations to `peers`; at most two batches are on their way at a time."""

    def __init__(self, peers: Sequence[Rows], *, streams: int) -> None:
        """Send each peer its rows; with one stream, only the teacher's."""
        self._peers = peers
        self._streams = streams
        self._sending: deque[list[tuple[Tensor, dist.Work]]] = deque()

    def send(self, pair: Pair) -> None:
        """Start to send; the tensors are kept until they have left."""
        if len(self._sending) == _AHEAD:
            self._finish_one()
        sends = []
        for stream in range(self._streams):
            packed = _packed(pair[stream])
            for peer in self._peers:
                rows = packed[peer.start : peer.stop]
                sends.append((packed, _started(dist.isend(rows, peer.rank, tag=stream))))
        self._sending.append(sends)

    def close(self) -> None:
        """Wait until everything has left."""
        while self._sending:
            self._finish_one()

    def _finish_one(self) -> None:
        for _, work in self._sending.popleft():
            work.wait()


def _post(
    peers: Sequence[Rows],
    shape: Sequence[int],
    device: torch.device,
    streams: int,
    dtype: torch.dtype,
) -> tuple[list[Tensor], list[dist.Work]]:
    """Start to receive one step's activations."""
    tensors, works = [], []
    for stream in range(streams):
        buffer = torch.empty(_packed_shape(shape), dtype=dtype, device=device)
        tensors.append(buffer)
        for peer in peers:
            rows = buffer[peer.start : peer.stop]
            works.append(_started(dist.irecv(rows, peer.rank, tag=stream)))
    return tensors, works


def _started(work: dist.Work | None) -> dist.Work:
    assert work is not None, "this process is in the group"
    return work


def _packed_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) == 4:
        batch, channels, height, width = shape
        return batch, height, width, channels
    return tuple(shape)


def _packed(x: Tensor) -> Tensor:
    """Return the activation with contiguous rows: a channels-last tensor as it lies in memory."""
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).contiguous()


def _unpacked(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x
