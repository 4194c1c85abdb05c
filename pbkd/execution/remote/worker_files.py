"""Which files a worker elsewhere may write: checks of the paths that another process sends."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pbkd.errors import RunFolderError
from pbkd.runs.assignment import read_assignment

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["LOCAL", "WorkerFiles", "inside", "writable_files"]

_MAX_PATH, _MAX_NAME = 1024, 255  # bytes, of a path and of each of its parts
_SUFFIX = ".safetensors"
LOCAL = ("heartbeats", "lock", "logs")
"""Files of the processes on one machine, which are never sent."""


@dataclass(frozen=True)
class WorkerFiles:
    """The files that one worker may write into the run folder.

    Attributes:
        rank: The worker's rank.
        phase: The phase that it works for.
        candidates: The candidates that it may train, or `student`; None without an assignment,
            where it may write every file but the events of others.
    """

    rank: int
    phase: str
    candidates: frozenset[str] | None

    def check(self, name: str, *, delete: bool) -> None:
        """Check a file that the worker wants to write or delete.

        Args:
            name: Path within the run folder.
            delete: Whether the file is to be deleted.

        Raises:
            RunFolderError: The file is not one that this worker writes.
        """
        if not self._is_own(name, delete=delete):
            verb = "delete" if delete else "write"
            raise RunFolderError(
                f"worker {self.rank} asked to {verb} the file {name[:200]!r} of the run"
                " folder, which is not its own: check which processes take part in this run."
            )

    def _is_own(self, name: str, *, delete: bool) -> bool:
        if name.split("/")[0] == "events":
            return name == f"events/rank{self.rank}.jsonl" and not delete
        if self.candidates is None:
            return True
        parent, _, file = name.rpartition("/")
        stem = file.removesuffix(_SUFFIX)
        if stem == file:
            return False
        if parent == self.phase:
            return stem in self.candidates and not delete
        candidate, _, epoch = stem.rpartition(".")
        is_epoch = epoch.isascii() and epoch.isdecimal()
        return parent == f"checkpoints/{self.phase}" and candidate in self.candidates and is_epoch


def writable_files(contents: Mapping[str, bytes | None], rank: int) -> WorkerFiles:
    """Return the files that a worker may write, given what it was sent.

    Args:
        contents: The run folder, from `pack_folder` or `pack_job`.
        rank: The worker's rank.

    Returns:
        Its events, and weights and checkpoints of the candidates of its jobs and of shared jobs.
    """
    text = contents.get("assignment.json")
    if text is None:
        return WorkerFiles(rank, "", None)
    with tempfile.TemporaryDirectory(prefix="pbkd-") as name:
        Path(name, "assignment.json").write_bytes(text)
        assignment = read_assignment(Path(name))
    return WorkerFiles(rank, assignment.phase, assignment.names_of(rank))


def inside(folder: Path, name: str) -> Path:
    """Return the file of a folder that another process names.

    Args:
        folder: The folder.
        name: Path within it, with forward slashes.

    Returns:
        The path of a regular file, or of none yet; no part of it below `folder` is a link.

    Raises:
        RunFolderError: The name is not a plain relative path, or leads through a link or to
            something else than a regular file.
    """
    path = PurePosixPath(name)
    parts = path.parts
    plain = str(path) == name and not path.is_absolute() and all(map(_is_plain_part, parts))
    if not parts or not plain or parts[0] in LOCAL or len(os.fsencode(name)) > _MAX_PATH:
        raise RunFolderError(
            f"another process of this run sent the file {name[:200]!r}, which is outside of"
            " the folder that it may change."
        )
    target = folder.joinpath(*parts)
    for parent in (target, *target.parents[: len(parts) - 1]):
        if parent.is_symlink() or (parent.exists() and parent.is_dir() == (parent is target)):
            raise RunFolderError(
                f"'{parent}' is in the way of a file that another process of this run sent: it"
                " must be a plain folder or file, no link."
            )
    if target.exists() and not target.is_file():
        raise RunFolderError(f"'{target}' is no regular file: delete it.")
    return target


def _is_plain_part(part: str) -> bool:
    """Whether a part of a path is an ordinary, visible name of a file."""
    if not part.isprintable() or part.startswith(".") or "\\" in part:
        return False
    return len(os.fsencode(part)) <= _MAX_NAME
