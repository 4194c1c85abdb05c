"""Run folders: created and found; and the state of the run in them."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from pbkd.core.events import Resumed
from pbkd.core.files import flush_to_disk, user_path
from pbkd.errors import PbkdError, RunFolderError
from pbkd.runs.configuration import CONFIG, configuration_file
from pbkd.runs.curves import is_finished_curve
from pbkd.runs.events import read_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = [
    "check_out",
    "folder_needed",
    "is_finished",
    "make_out",
    "new_run_folder",
    "newest_run",
    "point_latest",
    "times_resumed",
    "unfinished_run",
]


def check_out(out: Path) -> None:
    """Check that the parent of run folders can be written, or created; create nothing.

    Raises:
        RunFolderError: It cannot.
    """
    folder = user_path(out)
    existing = folder
    try:
        str(folder).encode()  # safetensors opens no other paths
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        with TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise _cannot_hold_runs(folder, error) from error
    except UnicodeEncodeError as error:
        raise RunFolderError(
            f"{str(folder)!a} cannot hold runs: it is not named in UTF-8."
        ) from error


def make_out(out: Path) -> Path:
    """Create the parent of run folders, and return it with `~` expanded.

    Raises:
        RunFolderError: It cannot be created.
    """
    folder = user_path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_hold_runs(folder, error) from error
    return folder


def new_run_folder(out: Path, name: str) -> Path:
    """Create and return `out/NAME-TIME`, and point the link `out/latest` to it.

    Raises:
        RunFolderError: The folder cannot be created.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out = make_out(out)
    try:
        folder = _fresh(out, f"{name.replace(':', '-').replace('/', '-')}-{stamp}")
    except OSError as error:
        raise _cannot_hold_runs(out, error) from error
    point_latest(folder)
    return folder


def _cannot_hold_runs(out: Path, error: OSError) -> RunFolderError:
    return RunFolderError(f"'{out}' cannot hold a run folder: {error.strerror}.")


@contextmanager
def folder_needed(folder: Path) -> Iterator[None]:
    """Replace an error in the context by a clear one if the run folder is gone.

    Raises:
        RunFolderError: The folder was deleted or moved.
    """
    try:
        yield
    except (PbkdError, OSError) as error:
        if (folder / "config.yaml").exists():
            raise
        raise RunFolderError(
            f"'{folder}' was deleted or moved while its run needed it ({error})."
        ) from error


def _linked(latest: Path) -> Path | None:
    """Return the run folder beside it that a link names; None if it names none."""
    with suppress(OSError):
        target = latest.readlink()
        folder = latest.parent / target
        if str(target) == target.name and not folder.is_symlink() and (folder / CONFIG).is_file():
            return folder
    return None


def point_latest(folder: Path) -> None:
    """Point `latest` beside a run folder to it, unless links do not work or it is no link."""
    folder = folder.resolve()  # it may be named by the link itself
    latest, new = folder.with_name("latest"), folder / ".latest"
    with suppress(OSError):
        if latest.is_symlink() or not latest.exists():
            new.symlink_to(folder.name, target_is_directory=True)
            new.replace(latest)
    flush_to_disk(folder.parent)


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
    """Return the run in `out` that was begun or resumed last.

    The link `latest` names it, independently of clocks. Without one that does, it is the run whose
    configuration was written last.

    Raises:
        RunFolderError: There is none.
    """
    linked = _linked(out / "latest")
    if linked is not None:
        return linked
    configs = [path for path in out.glob("*/config.yaml") if not path.parent.is_symlink()]
    if not configs:
        raise RunFolderError(f"there is no run in '{out}': name a run's folder, or out=FOLDER.")
    return max(configs, key=lambda path: path.stat().st_mtime_ns).parent


def unfinished_run(folder: Path) -> Path:
    """Return `folder` if its run can be resumed.

    Raises:
        RunFolderError: It is no run folder, it has a link in it, its configuration has no
            checksum, or its run was stopped before training.
    """
    if not (folder / "config.yaml").is_file() or not (folder / "identity.json").is_file():
        raise RunFolderError(
            f"'{folder}' holds no run that can be resumed: it is no run folder, or its run was"
            " stopped before training began."
        )
    _check_links(folder)
    configuration_file(folder)
    return folder


def _check_links(folder: Path) -> None:
    """Refuse links in a run folder, through which a resumed run would write elsewhere."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)  # noqa: PTH118 - there may be many
            if os.path.islink(path):  # noqa: PTH114
                raise RunFolderError(f"'{path}' is a link: put the file itself there to resume.")


def is_finished(folder: Path) -> bool:
    """Return whether the run in the folder has written its report, or the curve its points."""
    report = all((folder / name).is_file() for name in ("README.md", "result.json"))
    return report or is_finished_curve(folder)


def times_resumed(folder: Path) -> int:
    """Return how often the run in the folder was resumed."""
    return sum(isinstance(event, Resumed) for event in read_events(folder))
