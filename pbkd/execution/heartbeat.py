"""Signs of life: each worker touches a file; whoever started it ends one that stopped doing so."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pbkd.core.process import background_thread

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


__all__ = ["alive", "beating", "watched"]

_EVERY = 1.0  # seconds
T = TypeVar("T")


@dataclass
class _Pulse:
    """This process's sign of life; `by_steps` is whether training gives it, instead of a thread."""

    path: Path | None = None
    by_steps: bool = False

    def beat(self) -> None:
        if self.path is not None:
            with suppress(OSError):  # a full disk is no reason to die
                self.path.touch()


_pulse = _Pulse()


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Give signs of life from a thread, as long as training does not give them step by step.

    Loading, waiting for others and checking a cache may take any time: there a thread shows that
    the process at least runs.
    """
    path = folder / "heartbeats" / str(os.getpid())
    path.parent.mkdir(parents=True, exist_ok=True)
    _pulse.path = path
    _pulse.beat()

    def beat(stop: threading.Event) -> None:
        while not stop.wait(_EVERY):
            if not _pulse.by_steps:
                _pulse.beat()

    try:
        with background_thread(beat, "pbkd-heartbeat"):
            yield
    finally:
        _pulse.path = None
        path.unlink(missing_ok=True)


def beating(items: Iterable[T]) -> Iterator[T]:
    """Yield the items of an epoch, with a sign of life for each, and none in between."""
    _pulse.by_steps = True
    try:
        for item in items:
            _pulse.beat()
            yield item
    finally:
        _pulse.by_steps = False
        _pulse.beat()


@dataclass
class _Watch:
    """When each worker was last seen to do something, by this process's clock."""

    folder: Path
    patience: float
    seen: dict[int, tuple[float, float]] = field(default_factory=dict)

    def silent(self) -> list[tuple[int, float]]:
        """Return the process ids and the silent seconds of those out of patience."""
        now = time.monotonic()
        lost = []
        for process in multiprocessing.active_children():
            if process.pid is None:
                continue
            touched = self._touched(process.pid)
            before, since = self.seen.get(process.pid, (touched, now))
            since = now if touched != before else since
            self.seen[process.pid] = touched, since
            if now - since > self.patience:
                lost.append((process.pid, now - since))
        return lost

    def _touched(self, pid: int) -> float:
        try:
            return (self.folder / "heartbeats" / str(pid)).stat().st_mtime
        except FileNotFoundError:
            return 0.0


@contextmanager
def watched(folder: Path, patience: float, lost: Callable[[int, float], None]) -> Iterator[None]:
    """Kill each child process that gives no sign of life for `patience` seconds.

    From its start on: a worker that hangs before it can give one is lost as well. `lost` gets its
    process id and the seconds.
    """
    watch = _Watch(folder, patience)

    def look(stop: threading.Event) -> None:
        while not stop.wait(min(_EVERY, patience / 4)):
            for pid, seconds in watch.silent():
                lost(pid, seconds)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    with background_thread(look, "pbkd-watch"):
        yield
