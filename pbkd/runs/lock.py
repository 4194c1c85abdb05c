"""The lock of a run folder, which the process that works on the run holds.

Its file tells which process started that process, for one that is started in its place.
"""

from __future__ import annotations

import os
import platform
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["has_same_parent", "is_held", "locked"]

_LOCK = "lock"
_LOOKING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def is_held(folder: Path) -> bool:
    """Return whether a live process holds the folder's lock; nothing is opened for writing.

    Raises:
        RunFolderError: The lock is a link, or not a regular file.
    """
    path = folder / _LOCK
    _check_kind(path)
    try:
        descriptor = os.open(path, _LOOKING)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read: {error.strerror}.") from error
    try:
        return _is_locked(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Try to share the lock, which `FileLock` takes for itself alone."""
    import fcntl  # not on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held; or the file system knows no locks, and the file's presence is the lock
        return True
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock during the context.

    Raises:
        RunFolderError: Another process holds it, it is a link, or it cannot be created.
    """
    path = folder / _LOCK
    _check_kind(path)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=2)  # `pbkd status` shares it for a moment
    except Timeout as error:
        raise RunFolderError(f"another process runs in '{folder}': see `pbkd status`.") from error
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be locked: {error.strerror}.") from error
    try:
        with suppress(OSError):  # a full disk is told of when something needs it
            path.write_bytes(_parent())
        yield
    finally:
        lock.release()


def has_same_parent(folder: Path) -> bool:
    """Return whether the process that last worked on the run was started by this one's parent."""
    path, parent = folder / _LOCK, _parent()
    _check_kind(path)
    return path.is_file() and path.read_bytes() == parent != b""


def _parent() -> bytes:
    """Return what tells the parent process apart from all others; empty if it cannot be seen."""
    import psutil  # `pbkd status` starts without it

    try:
        parent = psutil.Process(os.getppid())
        return f"{platform.node()} {parent.pid} {parent.create_time()}".encode()
    except psutil.Error:  # it has ended, or is outside of the container
        return b""


def _check_kind(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise RunFolderError(f"'{path}' is not a regular file: delete it if no run goes on there.")
