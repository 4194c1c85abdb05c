"""The coordinator's side of a run with workers elsewhere: it sends work and collects results."""

from __future__ import annotations

import _thread
import os
import secrets
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Empty, Queue
from typing import TYPE_CHECKING, TypeVar

from pbkd.core.terminal_text import terminal_text
from pbkd.errors import PbkdError, WorkerError
from pbkd.execution.remote.connection import PeerConnection
from pbkd.execution.remote.folder_sync import apply_delta, pack_folder
from pbkd.execution.remote.messages import (
    Done,
    Echo,
    End,
    Failed,
    File,
    Load,
    Loaded,
    ProtocolError,
    Start,
    Timed,
    Work,
)
from pbkd.execution.remote.probe import (
    WorkerProbe,
    measure_link,
    prepare_probe,
    worker_from_probe,
)
from pbkd.execution.remote.worker_files import writable_files
from pbkd.execution.torchrun import LAUNCH_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.schedule import Worker
    from pbkd.execution.remote.channel import Channel
    from pbkd.execution.remote.folder_sync import FolderDelta
    from pbkd.execution.remote.messages import Message
    from pbkd.execution.remote.worker_files import WorkerFiles
    from pbkd.execution.worker_request import WorkerRequest


__all__ = ["Coordinator"]

_GRACE = 10.0  # seconds in which a process may exit by itself
_ANSWERS = (Loaded, Timed, Echo, Done, Failed)
_MAX_WAITING = 4  # answers that a worker may have sent before they are asked for
A = TypeVar("A", Loaded, Timed, Echo, Done)


class Coordinator:
    """Worker 0, with a connection to each of the others."""

    def __init__(self, connections: Mapping[int, Channel], patience: float) -> None:
        """Take over the open connections.

        Args:
            connections: One for each other worker, by rank.
            patience: Maximum silence of a worker, in seconds.
        """
        self._answers: dict[int, Queue[Message]] = {
            rank: Queue(_MAX_WAITING) for rank in connections
        }
        self._folder: Path | None = None
        self._writable: dict[int, WorkerFiles] = {}
        self._failure: str | None = None
        os.environ[LAUNCH_ID] = self._launch_id = secrets.token_hex(8)
        self._peers = {
            rank: PeerConnection(
                channel, patience, partial(self._on_message, rank), partial(self._on_lost, rank)
            )
            for rank, channel in connections.items()
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
        load = Load(request.threads, request.device, patience, self._launch_id)
        for peer in self._peers.values():
            peer.patience = patience
            peer.send(load, request.configuration.encode())
        probe = prepare_probe(request)
        for rank in self._peers:
            self._answer(rank, Loaded)
        for peer in self._peers.values():
            peer.send(Start())
        reference = probe()
        probes = {rank: self._answer(rank, Timed) for rank in sorted(self._peers)}
        others = (
            worker_from_probe(
                rank,
                WorkerProbe(probe.host, probe.device, probe.threads, probe.seconds),
                reference,
                measure_link(partial(self._echo, rank)),
            )
            for rank, probe in probes.items()
        )
        return worker_from_probe(0, reference, reference), *others

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Have all workers do their part; this process is rank 0.

        Args:
            work: The function that `launch` receives; the others call their own copy of it, since
                no code is sent.
            folder: The run folder, into which the results of the others are written.
            workers: The workers of the schedule.

        Raises:
            WorkerError: A worker fails or is lost, or `work` is not the work of a run.
        """
        from pbkd.execution import worker  # it takes most of a second to import

        if not isinstance(work, worker.LaunchedWork) or work.inputs is not None:
            raise WorkerError(
                "the launcher 'torchrun' sends data but no code to its workers, which do the work"
                " of `pbkd run` only: say launcher=local for anything else."
            )
        others = [worker.rank for worker in workers if worker.rank]
        contents = pack_folder(folder)
        self._writable = {rank: writable_files(contents, rank) for rank in others}
        self._folder = folder
        with ThreadPoolExecutor(max(1, len(others))) as pool:
            list(pool.map(partial(self._send_work, contents), others))
        try:
            work(folder, 0)
        except Exception as error:
            # If another worker failed, that is the cause.
            deadline = time.monotonic() + _GRACE
            while not self._failure and time.monotonic() < deadline:
                time.sleep(0.1)
            raise (WorkerError(self._failure) if self._failure else error) from error
        for rank in others:
            self._answer(rank, Done)
        self._folder = None

    def close(self) -> None:
        """Let all other processes end."""
        for peer in self._peers.values():
            peer.send(End())
            peer.close()

    def _send_work(self, contents: FolderDelta, rank: int) -> None:
        for name, content in contents.items():
            self._peers[rank].send(File(name), content or b"")
        self._peers[rank].send(Work(rank))

    def _on_message(self, rank: int, message: Message, body: bytes) -> None:
        """Receive a message of a worker, in its connection's thread."""
        if isinstance(message, File):
            self._apply(rank, message, body)
            return
        if isinstance(message, Failed):
            self._failure = f"worker {rank} failed: {terminal_text(message.reason)}"
        elif not isinstance(message, _ANSWERS):
            raise ProtocolError("it sent a message that no worker sends")
        if self._answers[rank].full():
            raise ProtocolError("it sent answers to nothing that was asked")
        self._answers[rank].put(message)

    def _apply(self, rank: int, file: File, body: bytes) -> None:
        """Write a worker's file into the run folder."""
        folder, allowed = self._folder, self._writable.get(rank)
        if folder is None or allowed is None:
            raise ProtocolError("it sent a file although it has no work")
        try:
            apply_delta({file.name: None if file.delete else body}, folder, allowed)
        except PbkdError as error:
            self._failure = str(error)
            self._abort()

    def _answer(self, rank: int, kind: type[A]) -> A:
        """Wait for a worker's answer; raise `WorkerError` if it is a failure."""
        while True:
            try:
                answer = self._answers[rank].get(timeout=0.5)
            except Empty:
                if self._failure:
                    raise WorkerError(self._failure) from None
                continue
            if isinstance(answer, kind):
                return answer
            raise WorkerError(self._failure or f"worker {rank} sent an answer to another request.")

    def _echo(self, rank: int, content: bytes) -> None:
        self._peers[rank].send(Echo(len(content)))
        self._answer(rank, Echo)

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
