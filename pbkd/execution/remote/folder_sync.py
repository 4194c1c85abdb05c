"""Synchronisation of a run folder with the copy of a worker that cannot see it.

A worker elsewhere works in a copy of the run folder. What it writes there is sent back as it
appears, so that the run folder ends up as if the worker had written to it directly.
"""

from __future__ import annotations

import os
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from pbkd.core.files import write_file
from pbkd.errors import RunFolderError
from pbkd.execution.remote.worker_files import LOCAL, inside

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd.execution.remote.worker_files import WorkerFiles


__all__ = [
    "FolderDelta",
    "Snapshot",
    "apply_delta",
    "folder_deltas",
    "pack_folder",
    "take_snapshot",
]

FolderDelta = dict[str, bytes | None]
"""New file contents by relative path; None deletes a file. Contents below `events` are appended to
the existing file, and come last; all others replace it."""
_EVENTS = "events"
_INTERVAL = 0.5  # seconds between two snapshots


class _FileState(NamedTuple):
    """Identifies one content of a file: files are replaced as a whole, with a new inode."""

    inode: int
    nanoseconds: int
    size: int


Snapshot = dict[str, _FileState]
"""The state of every file of a folder, by relative path."""


def pack_folder(folder: Path) -> FolderDelta:
    """Return the whole run folder, as a delta to an empty one, without what is local to a machine.

    Args:
        folder: The run folder.
    """
    return _delta(folder, take_snapshot(folder), {})


def apply_delta(delta: FolderDelta, folder: Path, allowed: WorkerFiles | None = None) -> None:
    """Write a delta's files into a folder.

    Args:
        delta: From `pack_folder` or `folder_deltas`.
        folder: The folder to change.
        allowed: The files that the sender may write, from `writable_files`; None for all in the
            folder.

    Raises:
        RunFolderError: A path is outside of the folder, leads through a link or is not allowed, or
            a file cannot be written.
    """
    for name, content in delta.items():
        path = inside(folder, name)
        if allowed:
            allowed.check(name, delete=content is None)
        if content is None:
            _delete(path)
        elif name.startswith(f"{_EVENTS}/"):
            _append(path, content)
        else:
            write_file(path, content)


def folder_deltas(folder: Path, since: Snapshot, stop: threading.Event) -> Iterator[FolderDelta]:
    """Yield the changes of a folder every half second, until `stop` is set.

    All files that were written before an event are in the same delta or in an earlier one.

    Args:
        folder: The folder to watch.
        since: The state that the first delta starts from.
        stop: Ends the watch, after one last delta.

    Yields:
        Deltas that are not empty.
    """
    stopped = False
    while not stopped:
        stopped = stop.wait(_INTERVAL)
        now = take_snapshot(folder)
        if delta := _delta(folder, now, since):
            yield delta
        since = now


def take_snapshot(folder: Path) -> Snapshot:
    """Return the state of all files of a folder.

    Event files are read first, so that all files written before an event are found with it.
    """
    snapshot: Snapshot = {}
    for top in (folder / _EVENTS, folder):
        for parent, folders, files in os.walk(top):
            relative = PurePosixPath(os.path.relpath(parent, folder).replace(os.sep, "/"))
            folders[:] = [name for name in folders if name not in (*LOCAL, _EVENTS)]
            for name in files:
                if not name.startswith(".") and name not in LOCAL:
                    _add_state(folder, str(relative / name), snapshot)
    return snapshot


def _add_state(folder: Path, name: str, snapshot: Snapshot) -> None:
    try:
        status = (folder / name).lstat()
    except FileNotFoundError:  # an old checkpoint was deleted meanwhile
        return
    if not stat.S_ISREG(status.st_mode):
        raise RunFolderError(
            f"'{folder / name}' is a link or no regular file, which is not sent to other machines:"
            " replace it by the file itself."
        )
    snapshot[name] = _FileState(status.st_ino, status.st_mtime_ns, status.st_size)


def _delta(folder: Path, now: Snapshot, since: Snapshot) -> FolderDelta:
    """Return the difference of two snapshots with the contents of new files; events come last."""
    delta: FolderDelta = {name: None for name in since if name not in now}
    for name in sorted(now, key=lambda name: name.startswith(f"{_EVENTS}/")):
        if now[name] == since.get(name):
            continue
        start = since[name].size if name in since and name.startswith(f"{_EVENTS}/") else 0
        try:
            content = (folder / name).read_bytes()[start : now[name].size]
        except FileNotFoundError:
            continue
        delta[name] = content
    return delta


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be deleted: {error.strerror}.") from error


def _append(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error
