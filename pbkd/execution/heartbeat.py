"""Heartbeats: each worker process touches a file; its launcher kills it when that stops."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pbkd.core.process import background_thread
from pbkd.training.throughput import begin_job

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pbkd.core.events import Emit, JobStarted
    from pbkd.training.throughput import Pace


__all__ = ["begin_with_heartbeats", "emit_heartbeats", "heartbeat_per_item", "watch_heartbeats"]

_INTERVAL = 1.0  # seconds
T = TypeVar("T")


@dataclass
class _Heartbeat:
    """The heartbeat file of this process; `per_item`: beats come from training, not a thread."""

    path: Path | None = None
    per_item: bool = False

    def beat(self) -> None:
        if self.path is not None:
            with suppress(OSError):  # a full disk is no reason to exit
                self.path.touch()


_heartbeat = _Heartbeat()


@contextmanager
def emit_heartbeats(folder: Path) -> Iterator[None]:
    """Emit heartbeats from a background thread while training does not emit them per step.

    Loading data, waiting for peers and checking a cache may take any time: in these, the thread
    shows that the process is running.

    Args:
        folder: The run folder, as `launch` receives it.
    """
    path = folder / "heartbeats" / str(os.getpid())
    path.parent.mkdir(parents=True, exist_ok=True)
    _heartbeat.path = path
    _heartbeat.beat()

    def beat(stop: threading.Event) -> None:
        while not stop.wait(_INTERVAL):
            if not _heartbeat.per_item:
                _heartbeat.beat()

    try:
        with background_thread(beat, "pbkd-heartbeat"):
            yield
    finally:
        _heartbeat.path = None
        path.unlink(missing_ok=True)


def begin_with_heartbeats(job: JobStarted, emit: Emit) -> Pace:
    """Emit that a job begins; return what counts its steps, with a heartbeat for each."""
    counted = begin_job(job, emit)
    return lambda items: heartbeat_per_item(counted(items))


def heartbeat_per_item(items: Iterable[T]) -> Iterator[T]:
    """Yield the items of an epoch, with one heartbeat per item and none in between."""
    _heartbeat.per_item = True
    try:
        for item in items:
            _heartbeat.beat()
            yield item
    finally:
        _heartbeat.per_item = False
        _heartbeat.beat()


@dataclass
class _Watch:
    """The last heartbeat of each child process, by this process's clock."""

    folder: Path
    patience: float
    last_beats: dict[int, tuple[float, float]] = field(default_factory=dict)

    def silent_processes(self) -> list[tuple[int, float]]:
        """Return process id and seconds of silence of each child that exceeds `patience`."""
        now = time.monotonic()
        silent = []
        for process in multiprocessing.active_children():
            if process.pid is None:
                continue
            modified = self._modified(process.pid)
            previous, since = self.last_beats.get(process.pid, (modified, now))
            since = now if modified != previous else since
            self.last_beats[process.pid] = modified, since
            if now - since > self.patience:
                silent.append((process.pid, now - since))
        return silent

    def _modified(self, pid: int) -> float:
        try:
            return (self.folder / "heartbeats" / str(pid)).stat().st_mtime
        except FileNotFoundError:
            return 0.0


@contextmanager
def watch_heartbeats(
    folder: Path, patience: float, on_lost: Callable[[int, float], None]
) -> Iterator[None]:
    """Kill each child process that emits no heartbeat for `patience` seconds.

    The time counts from the child's start, so that one which hangs before its first heartbeat is
    killed too.

    Args:
        folder: The run folder, as `launch` receives it.
        patience: Maximum silence, in seconds.
        on_lost: Called with the process id and the seconds of silence before each kill.
    """
    watch = _Watch(folder, patience)

    def poll(stop: threading.Event) -> None:
        while not stop.wait(min(_INTERVAL, patience / 4)):
            for pid, seconds in watch.silent_processes():
                on_lost(pid, seconds)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    with background_thread(poll, "pbkd-watch"):
        yield
