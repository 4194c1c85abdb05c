"""A worker that cannot see the run folder: it does what the coordinator asks, in a copy."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from queue import Queue
from typing import TYPE_CHECKING, Any

from pbkd.errors import one_line
from pbkd.execution.remote.connection import PeerConnection
from pbkd.execution.remote.probe import prepare_probe
from pbkd.execution.remote.working_copy import work_in_copy
from pbkd.execution.torchrun import LAUNCH_ID

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from pbkd.execution.remote.folder_sync import FolderDelta
    from pbkd.execution.remote.probe import WorkerProbe
    from pbkd.execution.worker_request import WorkerRequest


__all__ = ["follow"]

_prepared: list[Callable[[], WorkerProbe]] = []


def follow(connection: Connection, patience: float) -> None:
    """Serve the coordinator's requests until it sends `end`.

    This process exits if the coordinator is silent for too long.

    Args:
        connection: An open connection to the coordinator.
        patience: Maximum silence, in seconds; a request `load` may change it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # removes the temporary folders
    requests: Queue[tuple[str, Any]] = Queue()
    peer = PeerConnection(
        connection, patience, lambda kind, content: requests.put((kind, content)), _exit
    )
    while (request := requests.get())[0] != "end":
        kind, content = request
        try:
            answer = _HANDLERS[kind](peer, content)
        except Exception as error:
            peer.send("failed", one_line(error))
            raise
        peer.send("answer", answer)
    peer.close()


def _load(peer: PeerConnection, content: tuple[WorkerRequest, float, str]) -> None:
    """Load the teacher that the coordinator is going to have timed."""
    request, peer.patience, os.environ[LAUNCH_ID] = content
    _prepared.append(prepare_probe(request))


def _time(_peer: PeerConnection, _content: None) -> WorkerProbe:
    return _prepared.pop()()


def _work(
    peer: PeerConnection, request: tuple[Callable[[Path, int], None], int, FolderDelta]
) -> None:
    """Do a phase's work; send back what it writes."""
    work_in_copy(*request, partial(peer.send, "delta"))


def _echo(_peer: PeerConnection, content: bytes) -> bytes:
    return content


_HANDLERS: dict[str, Callable[[PeerConnection, Any], Any]] = {
    "load": _load,
    "time": _time,
    "work": _work,
    "echo": _echo,
}


def _exit(reason: str) -> None:
    sys.stderr.write(f"pbkd: the run's coordinator was lost: {reason}.\n")
    sys.stderr.flush()
    os._exit(1)  # the main thread may be blocked in torch, waiting for another worker
