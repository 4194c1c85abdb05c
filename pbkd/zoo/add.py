"""Add the student of a run to a zoo folder, in the layout of the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from pbkd.core.files import flush_to_disk
from pbkd.errors import (
    ZooError,
)
from pbkd.runs.curves import run_of
from pbkd.runs.finished import read_finished
from pbkd.zoo.publication import write_publication
from pbkd.zoo.store import find_student

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd.plugin.registry import Registry


__all__ = ["add_student"]

# Valid both as a folder and as a repository on the Hugging Face hub.
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")


def add_student(
    registry: Registry,
    run: Path,
    zoo: Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    half: bool = False,
) -> Path:
    """Copy the student of a finished run into a zoo folder: recipe, weights, card and README.

    The student's folder is created complete or not at all.

    Args:
        registry: Provides the zoo's models.
        run: The folder of the run.
        zoo: The zoo folder.
        name: Name of the student (default: TEACHER-student).
        licence: Licence of the weights (default: the licence of the zoo's teacher, if it has one).
        half: Whether to round the weights to half precision. Accuracy is then measured again, if
            the run's data can be loaded.

    Returns:
        The student's folder.

    Raises:
        RunFolderError: If the run has not finished, or a file of it is damaged or was changed.
        ZooError: If the name is invalid or taken, the folder cannot be written, or the student
            cannot be loaded from it.
    """
    run = run_of(run)
    name = name or re.sub(r"[:/]", "-", f"{read_finished(run).result.teacher.name}-student")
    _check_free(registry, zoo, name)
    with _staged(zoo / name) as stage:
        write_publication(registry, run, stage, name, licence=licence, half=half)
    return zoo / name


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Yield a folder that is renamed to `folder` if nothing fails, and deleted otherwise."""
    zoo = folder.parent
    stage, existed = zoo / f".{folder.name}.{token_hex(8)}.partial", zoo.exists()
    try:
        yield stage
        stage.rename(folder)
        flush_to_disk(zoo)
    except OSError as error:
        raise ZooError(f"'{folder}' cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not existed:
            with suppress(OSError):
                zoo.rmdir()  # if it is empty


def _check_free(registry: Registry, zoo: Path, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > 96:
        raise ZooError(
            f"{name!r} is not a valid student name: set --name to letters and digits with single"
            " dots, dashes or underscores between them."
        )
    student = find_student(name)
    taken = student.folder if student else zoo / name
    if name in registry.strategies["model"]:
        raise ZooError(f"'{name}' is already a model of the zoo: set another --name.")
    if student or taken.exists():
        raise ZooError(f"'{taken}' already exists: set another --name, or delete it.")
