"""The host's side of a run whose workers are elsewhere: it sends work and gathers what it gave."""

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
from pbkd.execution.remote.connection import Line
from pbkd.execution.remote.folder_sync import pack, unpack
from pbkd.execution.remote.probe import measured_link, stopwatch, worker_at
from pbkd.execution.torchrun import MEETING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from pbkd.config.schema import RunConfig
    from pbkd.core.schedule import Worker
    from pbkd.execution.remote.folder_sync import Parcel


__all__ = ["Coordinator"]

_GRACE = 10.0  # seconds in which a process may end by itself


class Coordinator:
    """Worker 0, and its lines to all others."""

    def __init__(self, connections: Mapping[int, Connection], patience: float) -> None:
        """Take over the connections, by worker."""
        self._answers: dict[int, Queue[tuple[str, Any]]] = {rank: Queue() for rank in connections}
        self._folder: Path | None = None
        self._failure: str | None = None
        os.environ[MEETING] = self._meeting = secrets.token_hex(8)
        self._lines = {
            rank: Line(connection, patience, partial(self._heard, rank), partial(self._lost, rank))
            for rank, connection in connections.items()
        }

    def workers(self, config: RunConfig, patience: float) -> tuple[Worker, ...]:
        """Have everyone time the teacher; return the workers with their speeds and links.

        From now on whoever is silent for `patience` seconds is lost.
        """
        for line in self._lines.values():
            line.patience = patience
            line.send("load", (config, patience, self._meeting))
        timed = stopwatch(config)
        for rank in self._lines:
            self._answer(rank)
        for line in self._lines.values():
            line.send("time")
        own = timed()
        places = {rank: self._answer(rank) for rank in sorted(self._lines)}
        others = (
            worker_at(rank, place, own, measured_link(partial(self._echo, rank)))
            for rank, place in places.items()
        )
        return worker_at(0, own, own), *others

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Have the work done by all `workers`; what others write is put into `folder`."""
        self._folder = folder
        others = [worker.rank for worker in workers if worker.rank]
        parcel = pack(folder)
        for rank in others:
            self._lines[rank].send("work", (work, rank, parcel))
        try:
            work(folder, 0)
        except Exception as error:
            # Where another one failed, that is why this one did.
            deadline = time.monotonic() + _GRACE
            while not self._failure and time.monotonic() < deadline:
                time.sleep(0.1)
            raise (WorkerError(self._failure) if self._failure else error) from error
        for rank in others:
            self._answer(rank)
        self._folder = None

    def close(self) -> None:
        """Let all others go."""
        for line in self._lines.values():
            line.send("end")
            line.close()

    def _heard(self, rank: int, kind: str, content: Any) -> None:
        """Take in what a worker sent, in its line's own thread."""
        if kind == "parcel" and self._folder:
            self._put(content, self._folder)
        elif kind == "failed":
            self._failure = f"worker {rank} failed: {content}"
            self._answers[rank].put((kind, self._failure))
        else:
            self._answers[rank].put((kind, content))

    def _put(self, parcel: Parcel, folder: Path) -> None:
        try:
            unpack(parcel, folder)
        except PbkdError as error:
            self._failure = str(error)
            self._give_up()

    def _answer(self, rank: int) -> Any:
        """Wait for what a worker answers; raises `WorkerError` where that is a failure."""
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
        self._lines[rank].send("echo", content)
        self._answer(rank)

    def _lost(self, rank: int, reason: str) -> None:
        """End this process: what it waits for may never come, and torchrun starts all anew."""
        if self._failure:  # it has told why it ends
            return
        self._failure = f"worker {rank} was lost: {reason}."
        if self._folder is not None:  # else nothing is asked of it
            self._give_up()

    def _give_up(self) -> None:
        """Interrupt the main thread; end the process where that waits outside of Python."""
        sys.stderr.write(f"pbkd: {self._failure}\n")
        _thread.interrupt_main()
        timer = threading.Timer(_GRACE, os._exit, [1])
        timer.daemon = True
        timer.start()
