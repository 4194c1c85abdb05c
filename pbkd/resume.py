"""A run's folder when the run is gone: which one it is, whether it is finished, who works in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pbkd.errors import RunFolderError
from pbkd.journal import read_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["is_finished", "is_held", "locked", "newest_run", "times_resumed", "unfinished_run"]


def newest_run(out: Path) -> Path:
    """Return the newest run folder in `out`; raises `RunFolderError` where there is none."""
    configs = [path for path in out.glob("*/config.yaml") if not path.parent.is_symlink()]
    if not configs:
        raise RunFolderError(f"there is no run in '{out}': name a run's folder, or out=FOLDER.")
    return max(configs, key=lambda path: path.stat().st_mtime_ns).parent


def unfinished_run(folder: Path) -> Path:
    """Return `folder` if it holds a run that can go on; raises `RunFolderError`."""
    if not (folder / "config.yaml").is_file() or not (folder / "identity.json").is_file():
        raise RunFolderError(
            f"'{folder}' holds no run that can be resumed: it is no run folder, or its run was"
            " stopped before training began."
        )
    return folder


def is_finished(folder: Path) -> bool:
    """Whether a run has written its report."""
    return (folder / "README.md").is_file() and (folder / "result.json").is_file()


def times_resumed(folder: Path) -> int:
    """How often the run in the folder went on after it had been stopped."""
    return sum(event["event"] == "resumed" for event in read_events(folder))


def is_held(folder: Path) -> bool:
    """Whether a process that is alive runs in the folder."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep the folder for this process; raises `RunFolderError` where another one runs in it."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=2)  # `pbkd status` holds it for a moment
    except Timeout as error:
        raise RunFolderError(f"another process runs in '{folder}': `pbkd status` tells.") from error
    try:
        yield
    finally:
        lock.release()
