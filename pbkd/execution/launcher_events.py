"""Events that a launcher records in the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.events import Restarted, WorkerLost
from pbkd.runs.events import record_event

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["record_lost_process", "record_restart"]

_WRITER = "launcher"


def record_restart(folder: Path, reason: str, attempt: int | None = None) -> None:
    """Record that workers are started again, for the live view and the report.

    Args:
        folder: The run folder, as `launch` receives it.
        reason: What happened to which worker.
        attempt: Number of the restart, from 1, where restarts are counted.
    """
    record_event(folder, _WRITER, Restarted(reason=reason, attempt=attempt))


def record_lost_process(folder: Path, pid: int, silent_seconds: float) -> None:
    """Record that a worker process was killed for its silence.

    Args:
        folder: The run folder, as `launch` receives it.
        pid: The process id.
        silent_seconds: Time since its last heartbeat.
    """
    record_event(folder, _WRITER, WorkerLost(pid=pid, silent_seconds=silent_seconds))
