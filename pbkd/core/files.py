"""Paths as users write them, atomic writing of files, and JSON."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pbkd.errors import RunFolderError

__all__ = ["read_json", "user_path", "write_file", "write_json"]

_MAX_BYTES = 8 * 2**20


def user_path(path: str | Path) -> Path:
    """Return a path that a user wrote, with a leading `~` or `~user` expanded.

    A `~` that names no home folder is a part of the name.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails for no user


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically: after a crash or a power failure it is complete or absent.

    Args:
        path: The file; missing parent folders are created.
        content: What to write.

    Raises:
        RunFolderError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush a folder's entries, and with them a rename, to disk if the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically.

    Raises:
        ValueError: The value contains NaN or infinity.
        RunFolderError: The file cannot be written.
    """
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of at most 8 MiB.

    Raises:
        RunFolderError: The file is missing, damaged or too large.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise RunFolderError(f"'{path}' is larger than {_MAX_BYTES:,} bytes.")
        return json.loads(text)
    except FileNotFoundError as error:
        raise RunFolderError(f"there is no '{path}': is this a finished run's folder?") from error
    except (OSError, RecursionError, ValueError) as error:
        raise RunFolderError(f"'{path}' cannot be read: {error}.") from error
