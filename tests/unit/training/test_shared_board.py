"""Workers that exchange values through shared memory; here, each is a thread."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.errors import WorkerError
from pbkd.training.shared_board import SharedBoard, board_size
from pbkd.training.shared_norm import _combined

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


def boards() -> list[SharedBoard]:
    """Return the boards of three workers."""
    memory = os.memfd_create("test")
    os.ftruncate(memory, board_size(3))
    ends: list[list[int]] = [[], [], []]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pair = socket.socketpair(type=socket.SOCK_SEQPACKET)
        ends[one].append(pair[0].detach())
        ends[other].append(pair[1].detach())
    made = [SharedBoard(memory, rank, peers) for rank, peers in enumerate(ends)]
    os.close(memory)
    return made


def test_workers_get_the_values_and_counts_of_all_again_and_again() -> None:
    def exchange(board: SharedBoard, rank: int) -> list[tuple[list[list[float]], tuple[int, ...]]]:
        found = []
        for turn in range(100):
            values = torch.tensor([rank + 10.0 * turn])
            rows, counts = board.gather(values, values + 1, count=rank)
            found.append((rows.tolist(), counts))
        return found

    with ThreadPoolExecutor(3) as threads:
        for found in threads.map(exchange, boards(), range(3)):
            assert found == [
                ([[rank + 10.0 * turn, rank + 10.0 * turn + 1] for rank in range(3)], (0, 1, 2))
                for turn in range(100)
            ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_values_of_several_slots_are_added_up(dtype: torch.dtype) -> None:
    def add(board: SharedBoard, rank: int) -> Tensor:
        values = torch.arange(100_000).to(dtype) * (rank + 1)
        board.add(values)
        return values

    with ThreadPoolExecutor(3) as threads:
        for found in threads.map(add, boards(), range(3)):
            assert torch.equal(found, torch.arange(100_000).to(dtype) * 6)


def test_who_waits_for_a_worker_that_ended_fails() -> None:
    first, second, third = boards()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(board.gather, torch.zeros(1)) for board in (first, second)]
        del third
        for each in waiting:
            with pytest.raises(WorkerError, match="a worker ended which shares this one's batches"):
                each.result(timeout=30)


@pytest.mark.parametrize("counts", [(4,), (1, 7), (3, 3, 2), (1, 2, 3, 4)])
def test_statistics_of_parts_give_those_of_the_whole(counts: tuple[int, ...]) -> None:
    x = 1000 + torch.randn(sum(counts), 5, generator=torch.Generator().manual_seed(0))
    parts = torch.split(x, list(counts))
    rows = torch.stack([torch.cat([p.mean(0), p.var(0, correction=0)]) for p in parts])
    mean, variance = _combined(rows, counts)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(variance, x.var(0, correction=0), rtol=1e-3, atol=0)
