"""The checksums of a finished run's files that hold none themselves."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pbkd.core.files import file_digest, read_json, write_json
from pbkd.errors import RunFolderError
from pbkd.runs.configuration import CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


__all__ = ["MODEL_CARD", "check_files", "check_student", "update_checksum", "write_checksums"]

MODEL_CARD = "README.md"
_FILE = "checksums.json"
_STUDENT = tuple(f"student/{n}" for n in ("config.json", "model.safetensors", "network.json"))


def write_checksums(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Record the checksums of a run's configuration, of its student, and of the report's files.

    Args:
        folder: The run folder.
        contents: The files of the report, by name; they need not be written yet.
    """
    digests = {name: _digest(folder / name) for name in (CONFIG, *_STUDENT)}
    digests |= {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    write_json(folder / _FILE, {name: one for name, one in digests.items() if one is not None})


def update_checksum(folder: Path, name: str, content: bytes) -> None:
    """Record the new checksum of a file of the report, before it is written again.

    Args:
        folder: The run folder.
        name: The file.
        content: What will be written.
    """
    recorded = read_json(folder / _FILE)
    write_json(folder / _FILE, {**recorded, name: hashlib.sha256(content).hexdigest()})


def check_files(folder: Path, names: Sequence[str]) -> None:
    """Check that files of a finished run are as the run left them.

    Args:
        folder: The run folder.
        names: The files, by their path in the folder.

    Raises:
        RunFolderError: If a file is missing or was changed, or the checksums are damaged.
    """
    recorded = read_json(folder / _FILE)
    for name in names:
        found = _digest(folder / name)
        if found is None and name in recorded:
            raise RunFolderError(f"'{folder / name}' is missing: put it back.")
        if found != recorded.get(name):
            raise RunFolderError(
                f"'{folder / name}' is not as the run wrote it: it is cut off, damaged or was"
                " edited; put the original back, or run again."
            )


def check_student(folder: Path) -> None:
    """Check that the student of a finished run is as the run left it.

    Args:
        folder: The run folder.

    Raises:
        RunFolderError: If a file of the student is missing or was changed.
    """
    check_files(folder, _STUDENT)


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file; None if there is no file."""
    return file_digest(path) if path.is_file() else None
