"""The coordinator's side of a run with workers elsewhere: it sends work and collects results."""

from __future__ import annotations

import _thread
import os
import secrets
import sys
import threading
import time
from functools import partial
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from pbkd.errors import PbkdError, WorkerError
from pbkd.execution.remote.connection import PeerConnection
from pbkd.execution.remote.folder_sync import apply_delta, pack_folder
from pbkd.execution.remote.probe import measure_link, prepare_probe, worker_from_probe
from pbkd.execution.torchrun import LAUNCH_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from pbkd.core.schedule import Worker
    from pbkd.execution.remote.folder_sync import FolderDelta
    from pbkd.execution.worker_request import WorkerRequest


__all__ = ["Coordinator"]

_GRACE = 10.0  # seconds in which a process may exit by itself


class Coordinator:
    """Worker 0, with a connection to each of the others."""

    def __init__(self, connections: Mapping[int, Connection], patience: float) -> None:
        """Take over the open connections.

        Args:
            connections: One for each other worker, by rank.
            patience: Maximum silence of a worker, in seconds.
        """
        self._answers: dict[int, Queue[tuple[str, Any]]] = {rank: Queue() for rank in connections}
        self._folder: Path | None = None
        self._failure: str | None = None
        os.environ[LAUNCH_ID] = self._launch_id = secrets.token_hex(8)
        self._peers = {
            rank: PeerConnection(
                connection, patience, partial(self._on_message, rank), partial(self._on_lost, rank)
            )
            for rank, connection in connections.items()
        }

    def workers(self, request: WorkerRequest, patience: float) -> tuple[Worker, ...]:
        """Have all workers time the teacher at once; describe them by their speeds and links.

        Args:
            request: The workers that the run asks for.
            patience: Maximum silence of a worker from now on, in seconds.

        Returns:
            All workers, this process first.

        Raises:
            WorkerError: A worker fails or is lost.
        """
        for peer in self._peers.values():
            peer.patience = patience
            peer.send("load", (request, patience, self._launch_id))
        probe = prepare_probe(request)
        for rank in self._peers:
            self._answer(rank)
        for peer in self._peers.values():
            peer.send("time")
        reference = probe()
        probes = {rank: self._answer(rank) for rank in sorted(self._peers)}
        others = (
            worker_from_probe(rank, probe, reference, measure_link(partial(self._echo, rank)))
            for rank, probe in probes.items()
        )
        return worker_from_probe(0, reference, reference), *others

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Have all workers do their part; this process is rank 0.

        Args:
            work: The function that `launch` receives.
            folder: The run folder, into which the results of the others are written.
            workers: The workers of the schedule.

        Raises:
            WorkerError: A worker fails or is lost.
        """
        self._folder = folder
        others = [worker.rank for worker in workers if worker.rank]
        contents = pack_folder(folder)
        for rank in others:
            self._peers[rank].send("work", (work, rank, contents))
        try:
            work(folder, 0)
        except Exception as error:
            # If another worker failed, that is the cause.
            deadline = time.monotonic() + _GRACE
            while not self._failure and time.monotonic() < deadline:
                time.sleep(0.1)
            raise (WorkerError(self._failure) if self._failure else error) from error
        for rank in others:
            self._answer(rank)
        self._folder = None

    def close(self) -> None:
        """Let all other processes end."""
        for peer in self._peers.values():
            peer.send("end")
            peer.close()

    def _on_message(self, rank: int, kind: str, content: Any) -> None:
        """Receive a message of a worker, in its connection's thread."""
        if kind == "delta" and self._folder:
            self._apply(content, self._folder)
        elif kind == "failed":
            self._failure = f"worker {rank} failed: {content}"
            self._answers[rank].put((kind, self._failure))
        else:
            self._answers[rank].put((kind, content))

    def _apply(self, delta: FolderDelta, folder: Path) -> None:
        try:
            apply_delta(delta, folder)
        except PbkdError as error:
            self._failure = str(error)
            self._abort()

    def _answer(self, rank: int) -> Any:
        """Wait for a worker's answer; raise `WorkerError` if it is a failure."""
        while True:
            try:
                kind, content = self._answers[rank].get(timeout=0.5)
            except Empty:
                if self._failure:
                    raise WorkerError(self._failure) from None
                continue
            if kind == "failed":
                raise WorkerError(content)
            return content

    def _echo(self, rank: int, content: bytes) -> None:
        self._peers[rank].send("echo", content)
        self._answer(rank)

    def _on_lost(self, rank: int, reason: str) -> None:
        """End this process: it may wait for the lost worker, and torchrun restarts all."""
        if self._failure:  # already reported
            return
        self._failure = f"worker {rank} was lost: {reason}."
        if self._folder is not None:  # otherwise the worker is idle, and the next request fails
            self._abort()

    def _abort(self) -> None:
        """Interrupt the main thread; end the process if that is blocked outside of Python."""
        sys.stderr.write(f"pbkd: {self._failure}\n")
        _thread.interrupt_main()
        timer = threading.Timer(_GRACE, os._exit, [1])
        timer.daemon = True
        timer.start()
