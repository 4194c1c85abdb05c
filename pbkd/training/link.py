"""Transfer of activations between workers, overlapped with computation."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.training.exchange import exchange_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pbkd.training.feeds import Pair


__all__ = ["Outlet", "RowRange", "receive", "shared_rows", "split_rows"]

_IN_FLIGHT = 2  # batches on a link at a time, which bounds its buffers


@dataclass(frozen=True)
class RowRange:
    """The rows `start` to `stop` of every batch, which one rank works on."""

    rank: int
    start: int
    stop: int


def split_rows(
    ranks: Sequence[int], batch: int, speeds: Sequence[float] | None = None
) -> list[RowRange]:
    """Split a batch over the ranks that share it.

    Args:
        ranks: The ranks, at most `batch`.
        batch: Rows of the batch.
        speeds: Relative speeds of the ranks, to which their rows are proportional; None for equal
            ones. Each rank has a row at least.
    """
    count = len(ranks)
    if speeds is None or len(set(speeds)) == 1:
        edges = [batch * index // count for index in range(count + 1)]
    else:
        ends = [sum(speeds[: index + 1]) / sum(speeds) for index in range(count)]
        edges = [0]
        for index, end in enumerate(ends):
            left = count - 1 - index  # ranks that need a row each
            edges.append(min(max(round(batch * end), edges[-1] + 1), batch - left))
    return [RowRange(rank, *edges[i : i + 2]) for i, rank in enumerate(ranks)]


def shared_rows(mine: RowRange, theirs: Sequence[RowRange]) -> list[RowRange]:
    """Return the overlap of each other range with `mine`, counted from the first row of `mine`."""
    return [
        RowRange(other.rank, max(mine.start, other.start) - mine.start,
             min(mine.stop, other.stop) - mine.start)
        for other in theirs
        if max(mine.start, other.start) < min(mine.stop, other.stop)
    ]  # fmt: skip


def receive(
    peers: Sequence[RowRange],
    shape: Sequence[int],
    steps: int,
    device: torch.device,
    *,
    streams: int,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Pair]:
    """Receive activations, two batches ahead of their use.

    Args:
        peers: The ranks that send, and the rows that each of them sends.
        shape: The shape of one sample.
        steps: Number of batches.
        device: Where the activations are needed.
        streams: 2 for the teacher's and the student's activation; 1 if they are the same.
        dtype: The type of the activations.

    Yields:
        The teacher's and the student's activation of each batch, (B, *shape).
    """
    waiting: deque[tuple[list[Tensor], list[dist.Work]]] = deque()
    via = exchange_device(device)
    count = max(peer.stop for peer in peers)
    for step in range(steps + _IN_FLIGHT):
        if step < steps:
            waiting.append(_post(peers, (count, *shape), via, streams, dtype))
        if step >= _IN_FLIGHT:
            tensors, works = waiting.popleft()
            for work in works:
                work.wait()
            pair = [_unpacked(tensor.to(device)) for tensor in tensors]
            yield pair[0], pair[-1]


class Outlet:
    """Sends pairs of activations to other ranks, at most two batches at a time."""

    def __init__(self, peers: Sequence[RowRange], *, streams: int) -> None:
        """Send each of `peers` its rows; with one stream, only the teacher's activation."""
        self._peers = peers
        self._streams = streams
        self._sending: deque[list[tuple[Tensor, dist.Work]]] = deque()

    def send(self, pair: Pair) -> None:
        """Start to send a pair; it is kept until it has been sent."""
        if not self._peers:
            return
        if len(self._sending) == _IN_FLIGHT:
            self._finish_one()
        sends = []
        for stream in range(self._streams):
            packed = _packed(pair[stream])
            packed = packed.to(exchange_device(packed.device))
            for peer in self._peers:
                rows = packed[peer.start : peer.stop]
                sends.append((packed, _started(dist.isend(rows, peer.rank, tag=stream))))
        self._sending.append(sends)

    def close(self) -> None:
        """Wait until everything has been sent."""
        while self._sending:
            self._finish_one()

    def _finish_one(self) -> None:
        for _, work in self._sending.popleft():
            work.wait()


def _post(
    peers: Sequence[RowRange],
    shape: Sequence[int],
    device: torch.device,
    streams: int,
    dtype: torch.dtype,
) -> tuple[list[Tensor], list[dist.Work]]:
    """Start to receive the activations of one step."""
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
    """Return the activation with contiguous rows: a channels-last tensor in its memory order."""
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).contiguous()


def _unpacked(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x
