"""Processes as Linux shows them: their names, sessions and parents."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Process", "name_process", "processes_of_session", "with_subreaper"]

# Options of prctl(2), from linux/prctl.h.
_SET_NAME, _SET_CHILD_SUBREAPER = 15, 36


@dataclass(frozen=True)
class Process:
    """A process that has not ended."""

    pid: int
    name: str
    parent: int


def processes_of_session(session: int) -> list[Process]:
    """Return the processes of a session that have not ended."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - this is called a thousand times a second
        if not entry.isdigit():
            continue
        with suppress(OSError):
            head, _, rest = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
            state, parent, _, its_session, *_ = rest.split()
            if int(its_session) == session and state not in "ZX":
                found.append(Process(int(entry), head.partition("(")[2], int(parent)))
    return found


def name_process(name: str) -> None:
    """Set the name of this process, and of its forks."""
    _prctl(_SET_NAME, ctypes.c_char_p(name.encode()))


@contextmanager
def with_subreaper() -> Iterator[None]:
    """Adopt processes whose parent ends within the context."""
    _prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_SET_CHILD_SUBREAPER, 0)


def _prctl(option: int, value: object) -> None:
    assert ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0
