"""The run folder: where everything about a run is written, each file whole or not at all."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pbkd.core.events import Resumed
from pbkd.errors import PbkdError, RunFolderError
from pbkd.runs.events import read_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = [
    "folder_needed",
    "is_finished",
    "is_held",
    "locked",
    "new_run_folder",
    "newest_run",
    "times_resumed",
    "unfinished_run",
]


def new_run_folder(out: Path, name: str) -> Path:
    """Create and return `out/NAME-TIME`, and point `out/latest` at it."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = _fresh(out, f"{name.replace(':', '-').replace('/', '-')}-{stamp}")
    except OSError as error:
        raise RunFolderError(f"'{out}' cannot hold a run folder: {error.strerror}.") from error
    _point_latest(folder)
    return folder


@contextmanager
def folder_needed(folder: Path) -> Iterator[None]:
    """Say so where what fails in the context fails because the run folder is gone."""
    try:
        yield
    except (PbkdError, OSError) as error:
        if (folder / "config.yaml").exists():
            raise
        raise RunFolderError(
            f"'{folder}' was deleted or moved while its run needed it ({error})."
        ) from error


def _point_latest(folder: Path) -> None:
    """Point `latest` beside a run folder at it, in one step; where links work, and it is one."""
    latest, new = folder.with_name("latest"), folder / ".latest"
    with suppress(OSError):
        if latest.is_symlink() or not latest.exists():
            new.symlink_to(folder.name, target_is_directory=True)
            new.replace(latest)


def _fresh(out: Path, name: str) -> Path:
    for attempt in range(1000):
        folder = out / (f"{name}-{attempt}" if attempt else name)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RunFolderError(f"'{out}' already holds a thousand runs called '{name}'.")


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
    return sum(isinstance(event, Resumed) for event in read_events(folder))


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
