"""A board in shared memory, on which the workers of one machine exchange values.

An exchange takes some ten microseconds of a CPU. One of gloo, whose threads wake each other, takes
hundreds, which is too much for each BatchNorm of a network.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import torch

from pbkd.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


__all__ = ["SharedBoard", "board_size"]

_SLOT = 2**18  # bytes of a worker's slot, which fit into the cache of a CPU core
_COUNT = struct.Struct("q")
_BUSY = 1e-4  # seconds; to sleep and be woken takes half as long


def board_size(workers: int) -> int:
    """Return the bytes of a board's memory."""
    return 2 * workers * _SLOT


class SharedBoard:
    """Exchanges values through shared memory; messages through sockets say when they are there.

    The memory has two halves, used in turn, with a slot for each worker. Who writes into a half has
    heard from all others that they wrote into the other half, and so have read this one.
    """

    def __init__(self, memory: int, rank: int, peers: Sequence[int]) -> None:
        """Take the descriptors of the memory and of a socket to each other worker.

        Args:
            memory: `board_size` bytes of shared memory.
            rank: This worker's slot.
            peers: The sockets, SOCK_SEQPACKET, in the order of the other workers' ranks.
        """
        workers = len(peers) + 1
        mapped = mmap.mmap(memory, board_size(workers))
        self._halves = torch.frombuffer(mapped, dtype=torch.uint8).view(2, workers, _SLOT)
        self._views: dict[tuple[int, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
        self._rank = rank
        self._peers = [Connection(peer) for peer in peers]  # which it closes in the end
        for peer in peers:
            os.set_blocking(peer, False)
        self._half = 0

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        """Return the values and counts of every worker, see `Exchange.gather`.

        Each has a slot at most.
        """
        self._half ^= 1
        slots, mine = self._slots(sum(map(len, values)), values[0].dtype)
        torch.cat(values, out=mine)
        return slots, self._meet(count)

    def add(self, values: Tensor) -> None:
        """Add up the values of all workers in place, see `Exchange.add`."""
        for part in torch.split(values, _SLOT // values.element_size()):
            torch.sum(self.gather(part)[0], 0, dtype=values.dtype, out=part)

    def _slots(self, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the first values of all slots in this half, and of this worker's."""
        views = self._views.get((count, dtype))
        if views is None:
            halves = [half.view(dtype)[:, :count] for half in self._halves]
            views = [(half, half[self._rank]) for half in halves]
            self._views[count, dtype] = views
        return views[self._half]

    def _meet(self, count: int) -> tuple[int, ...]:
        """Wait until all workers have come here; return their counts."""
        try:
            for peer in self._peers:
                os.write(peer.fileno(), _COUNT.pack(count))
            counts = [_COUNT.unpack(_read(peer.fileno()))[0] for peer in self._peers]
        except (OSError, struct.error) as error:
            raise WorkerError("a worker ended which shares this one's batches.") from error
        counts.insert(self._rank, count)
        return tuple(counts)


def _read(socket: int) -> bytes:
    """Wait for a message, at first without sleeping; an empty one says that the sender ended."""
    end = time.monotonic() + _BUSY
    while True:
        try:
            return os.read(socket, _COUNT.size)
        except BlockingIOError:
            if time.monotonic() > end:
                select.select([socket], [], [])
