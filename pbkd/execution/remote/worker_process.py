"""The process of a worker elsewhere, which its host asks again and again what it has done."""

from __future__ import annotations

import os
import socket
import threading
from importlib import import_module
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, NamedTuple

from pbkd.errors import one_line

# This module imports no torch, so that the process answers while a task imports it.
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pbkd.execution.remote.folder_sync import FolderDelta
    from pbkd.execution.worker_request import WorkerRequest

    Send = Callable[[Any], None]


__all__ = ["Answer", "WorkerProcess"]

_WAIT = 0.5  # seconds


class Answer(NamedTuple):
    """What a process answers when it is asked for the next result of a task.

    Attributes:
        kind: `result`; `none` if there is none yet; `done` after the last one; `failed` if the task
            raised an error; `unknown` if this process has not begun the task.
        value: The result, or the error in one line.
    """

    kind: str
    value: Any = None


class WorkerProcess:
    """A worker that does its tasks in a thread, so that it can answer at any time.

    A launcher calls these methods from the host process, one at a time, by its engine's means:
    `RemoteWorkers` says which and when.
    """

    def __init__(self) -> None:
        """Wait for the first task."""
        self._task = ""

    def is_new(self) -> bool:
        """Tell whether this process has begun no task yet."""
        return not self._task

    def echo(self, content: bytes) -> bytes:
        """Return what was sent, to measure the link."""
        return content

    def address(self) -> str:
        """Return the address of this machine; a subclass may know a better one."""
        return socket.gethostbyname(socket.gethostname())

    def begin(self, task: str, name: str, *arguments: Any) -> None:
        """Begin a task.

        Args:
            task: Identifies the task.
            name: `load`, `probe`, `prepare` or `work`.
            arguments: Of the function of that name below.
        """
        self._task = task
        self._answers: Queue[Answer] = Queue()
        run = self._run, (self._answers, getattr(self, f"_{name}"), arguments)
        threading.Thread(target=run[0], args=run[1], name=f"pbkd-{name}", daemon=True).start()

    def next_answer(self, task: str) -> Answer:
        """Wait up to half a second for a task's next result."""
        if task != self._task:
            return Answer("unknown")
        try:
            return self._answers.get(timeout=_WAIT)
        except Empty:
            return Answer("none")

    def _run(
        self, answers: Queue[Answer], call: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        try:
            call(lambda result: answers.put(Answer("result", result)), *arguments)
        except BaseException as error:
            answers.put(Answer("failed", one_line(error)))
        else:
            answers.put(Answer("done"))

    def _load(self, _send: Send, request: WorkerRequest) -> None:
        """Load the teacher."""
        from pbkd.execution.remote.probe import prepare_probe

        self._time_teacher = prepare_probe(request)

    def _probe(self, send: Send) -> None:
        """Send a `WorkerProbe`."""
        send(self._time_teacher())

    def _prepare(self, send: Send) -> None:
        """Import what workers need; send this machine's address and a free port on it."""
        from pbkd.execution.preload import modules_to_preload

        for module in modules_to_preload():
            import_module(module)
        address = self.address()
        with socket.create_server((address, 0)) as server:
            send((address, server.getsockname()[1]))

    def _work(
        self,
        send: Send,
        work: Callable[[Path, int], None],
        rank: int,
        contents: FolderDelta,
        environment: Mapping[str, str],
    ) -> None:
        """Do a worker's part in a copy of the run folder; send each of its changes."""
        from pbkd.execution.remote.working_copy import work_in_copy

        os.environ.update(environment)
        work_in_copy(work, rank, contents, send)
