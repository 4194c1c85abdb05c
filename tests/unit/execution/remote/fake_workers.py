"""Workers in this process that can be lost in every way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.execution.remote.remote_workers import LostWorkerError
from pbkd.execution.remote.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable


class _Process(WorkerProcess):
    def address(self) -> str:
        return "127.0.0.1"


class FakeHandle:
    """A worker whose process is replaced after so many kills."""

    def __init__(self, kills_needed: int = 1) -> None:
        self.process: WorkerProcess | None = _Process()
        self.is_silent = False
        self.kills = 0
        self._kills_needed = kills_needed

    def ask(self, method: str, *arguments: object) -> Callable[[float], Any]:
        def wait(_seconds: float) -> Any:
            if self.is_silent:
                raise TimeoutError
            if self.process is None:
                raise LostWorkerError("it died")
            return getattr(self.process, method)(*arguments)

        return wait

    def kill(self) -> None:
        self.kills += 1
        if self.kills >= self._kills_needed:
            self.process, self.is_silent = _Process(), False
