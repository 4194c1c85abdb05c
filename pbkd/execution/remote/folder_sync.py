"""What goes between a run's folder and a worker that does not see it: files, in parcels.

A worker elsewhere works in a folder of its own, which starts as a copy. What it then writes is sent
home as it appears, so that the run's folder is what it would be had the worker written there.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from pbkd.core.files import write_file
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["Marks", "Parcel", "marks", "pack", "unpack", "written"]

Parcel = dict[str, bytes | None]
"""Contents by path in the folder; None for a file that is gone. Files below `events` are added to
what is there, and come last; all others take the place of what is there."""
_EVENTS = "events"
_OWN = ("heartbeats", "lock", "logs")  # of the processes on one machine
_EVERY = 0.5  # seconds between two looks


class _Mark(NamedTuple):
    """What tells one content of a file from another: files appear whole, under a new inode."""

    inode: int
    nanoseconds: int
    size: int


Marks = dict[str, _Mark]


def pack(folder: Path) -> Parcel:
    """Return everything in a run's folder that a worker may need."""
    return _contents(folder, marks(folder), {})


def unpack(parcel: Parcel, folder: Path) -> None:
    """Put a parcel's files into a folder; raises `RunFolderError`."""
    for name, content in parcel.items():
        path = folder / _inside(name)
        if content is None:
            path.unlink(missing_ok=True)
        elif name.startswith(f"{_EVENTS}/"):
            _append(path, content)
        else:
            write_file(path, content)


def written(folder: Path, known: Marks, stop: threading.Event) -> Iterator[Parcel]:
    """Yield what a worker has written in its own folder since that was `known`, until it stops.

    Whatever was written before an event is in the same parcel, or in an earlier one.
    """
    over = False
    while not over:
        over = stop.wait(_EVERY)
        now = marks(folder)
        parcel = _contents(folder, now, known)
        if parcel:
            yield parcel
        known = now


def marks(folder: Path) -> Marks:
    """Return how all files of a folder are now, to be compared with later.

    Those of events are looked at first: what had been written when an event was is found too.
    """
    found: Marks = {}
    for place in (folder / _EVENTS, folder):
        for parent, folders, files in os.walk(place):
            inside = PurePosixPath(os.path.relpath(parent, folder).replace(os.sep, "/"))
            folders[:] = [name for name in folders if name not in (*_OWN, _EVENTS)]
            for name in files:
                if not name.startswith(".") and name not in _OWN:
                    _look(folder, str(inside / name), found)
    return found


def _look(folder: Path, name: str, found: Marks) -> None:
    try:
        facts = (folder / name).stat()
    except FileNotFoundError:  # an old checkpoint made room for a new one
        return
    found[name] = _Mark(facts.st_ino, facts.st_mtime_ns, facts.st_size)


def _contents(folder: Path, now: Marks, known: Marks) -> Parcel:
    """Return what is new in a folder since it was `known`, and what is gone; events come last."""
    parcel: Parcel = {name: None for name in known if name not in now}
    for name in sorted(now, key=lambda name: name.startswith(f"{_EVENTS}/")):
        if now[name] == known.get(name):
            continue
        start = known[name].size if name in known and name.startswith(f"{_EVENTS}/") else 0
        try:
            content = (folder / name).read_bytes()[start : now[name].size]
        except FileNotFoundError:
            continue
        parcel[name] = content
    return parcel


def _append(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RunFolderError(f"a parcel holds '{name}', which is outside of the folder.")
    return path
