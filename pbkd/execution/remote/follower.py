"""A worker that does not see the run's folder: it does what the host sends, in its own."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from pbkd.core.process import background_thread
from pbkd.errors import one_line
from pbkd.execution.remote.connection import Line
from pbkd.execution.remote.folder_sync import marks, unpack, written
from pbkd.execution.remote.probe import stopwatch
from pbkd.execution.torchrun import MEETING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from pbkd.config.schema import RunConfig
    from pbkd.execution.remote.folder_sync import Parcel
    from pbkd.execution.remote.probe import Place


__all__ = ["follow"]

_loaded: list[Callable[[], Place]] = []


def follow(connection: Connection, patience: float) -> None:
    """Do what the host asks for until it says that all is done.

    This process ends where it hears nothing of the host for `patience` seconds.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its folders are removed
    asked: Queue[tuple[str, Any]] = Queue()
    line = Line(connection, patience, lambda kind, content: asked.put((kind, content)), _lost)
    while (request := asked.get())[0] != "end":
        kind, content = request
        try:
            answer = _ANSWERS[kind](line, content)
        except Exception as error:
            line.send("failed", one_line(error))
            raise
        line.send("answer", answer)
    line.close()


def _load(line: Line, asked: tuple[RunConfig, float, str]) -> None:
    """Load the teacher that the host is going to ask to be timed."""
    config, line.patience, os.environ[MEETING] = asked
    _loaded.append(stopwatch(config))


def _time(_line: Line, _content: None) -> Place:
    return _loaded.pop()()


def _work(line: Line, asked: tuple[Callable[[Path, int], None], int, Parcel]) -> None:
    """Do a phase's work; send what it writes."""
    work, rank, parcel = asked
    with tempfile.TemporaryDirectory(prefix="pbkd-") as place:
        folder = Path(place)
        unpack(parcel, folder)
        before = marks(folder)

        def send(stop: threading.Event) -> None:
            for found in written(folder, before, stop):
                line.send("parcel", found)

        with background_thread(send, "pbkd-courier"):
            work(folder, rank)


def _echo(_line: Line, content: bytes) -> bytes:
    return content


_ANSWERS: dict[str, Callable[[Line, Any], Any]] = {
    "load": _load,
    "time": _time,
    "work": _work,
    "echo": _echo,
}


def _lost(reason: str) -> None:
    sys.stderr.write(f"pbkd: the run's host was lost: {reason}.\n")
    sys.stderr.flush()
    os._exit(1)  # its main thread may wait for another worker, outside of Python
