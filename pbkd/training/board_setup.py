"""Setting up a shared board: the first worker hands memory and sockets out to the others."""

from __future__ import annotations

import os
import secrets
import socket
import struct
from contextlib import ExitStack
from itertools import combinations
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.core.schedule import MOST_SHARING_MEMORY
from pbkd.training.shared_board import SharedBoard, board_size

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["can_share_memory", "open_board"]

_TIMEOUT = 10.0  # seconds
_CREDENTIALS = struct.Struct("3i")  # process, user and group of a socket's other end
_RANK = struct.Struct("i")


def can_share_memory(device: str) -> bool:
    """Return whether workers of one machine that compute on this device can have a board."""
    is_linux = hasattr(os, "memfd_create") and hasattr(socket, "SO_PEERCRED")
    return device.startswith("cpu") and is_linux


def open_board(group: dist.ProcessGroup) -> SharedBoard | None:
    """Open a board for the workers of a group, all of which must call this.

    Nothing but memory and sockets without names is left of it, which end with the workers.

    Args:
        group: The process group.

    Returns:
        The board; None if the workers exchange by NCCL, are too many, or do not reach each other on
        this machine.
    """
    rank, workers = dist.get_rank(group), dist.get_world_size(group)
    can = dist.get_backend(group) == "gloo" and can_share_memory("cpu")
    if not can or not 1 < workers <= MOST_SHARING_MEMORY:
        return None
    with ExitStack() as opened:
        number = secrets.randbits(62)
        link = _listen(number, workers) if rank == 0 else None
        number = _tell(group, number)[0]
        link = link if rank == 0 else _connect(number)
        if link is not None:
            opened.enter_context(link)
        if not all(_tell(group, link is not None)):
            return None
        assert link is not None, "all workers have one"
        memory, *peers = _hand_out(link, workers) if rank == 0 else _receive(link, rank, workers)
    try:
        return SharedBoard(memory, rank, peers)
    finally:
        os.close(memory)


def _tell(group: dist.ProcessGroup, value: int) -> list[int]:
    """Return what every worker of the group tells the others."""
    parts = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, torch.tensor([int(value)]), group=group)
    return [int(part) for part in parts]


def _address(number: int) -> str:
    """Return an address of Linux's abstract name space, which leaves no file."""
    return f"\0pbkd-board-{number:x}"


def _listen(number: int, workers: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(_address(number))
        listener.listen(workers)
    except OSError:
        listener.close()
        return None
    listener.settimeout(_TIMEOUT)
    return listener


def _connect(number: int) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(_TIMEOUT)
    try:
        link.connect(_address(number))
    except OSError:
        link.close()
        return None
    if _is_stranger(link):
        link.close()
        return None
    return link


def _is_stranger(link: socket.socket) -> bool:
    """Whether another user has the other end, since every user may connect to an address."""
    found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[1] != os.geteuid())


def _hand_out(listener: socket.socket, workers: int) -> list[int]:
    """Give each other worker the memory and its sockets; return the first worker's own."""
    memory = os.memfd_create("pbkd-board")
    os.ftruncate(memory, board_size(workers))
    ends: list[list[int]] = [[] for _ in range(workers)]
    for one, other in combinations(range(workers), 2):
        for rank, end in zip(
            (one, other), socket.socketpair(type=socket.SOCK_SEQPACKET), strict=True
        ):
            ends[rank].append(end.detach())
    for link in _accepted(listener, workers - 1):
        (rank,) = _RANK.unpack(link.recv(_RANK.size))
        socket.send_fds(link, [b"\0"], [memory, *ends[rank]])
        for end in ends[rank]:
            os.close(end)
    return [memory, *ends[0]]


def _accepted(listener: socket.socket, count: int) -> Iterator[socket.socket]:
    while count:
        link, _ = listener.accept()
        with link:
            if not _is_stranger(link):
                link.settimeout(_TIMEOUT)
                yield link
                count -= 1


def _receive(link: socket.socket, rank: int, workers: int) -> list[int]:
    link.sendall(_RANK.pack(rank))
    _, descriptors, _, _ = socket.recv_fds(link, 1, workers, socket.MSG_CMSG_CLOEXEC)
    return list(descriptors)
