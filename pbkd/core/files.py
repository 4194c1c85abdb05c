"""The run folder: where everything about a run is written, each file whole or not at all."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["read_json", "write_file", "write_json"]

_MOST_BYTES = 8 * 2**20


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all, even across a power cut."""
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
    """Make the names in a folder last, where the system can: a rename is in the folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented, without NaN or Infinity."""
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; a `RunFolderError` names a file that is missing, damaged or over 8 MiB."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise RunFolderError(f"'{path}' is larger than {_MOST_BYTES:,} bytes.")
        return json.loads(text)
    except FileNotFoundError as error:
        raise RunFolderError(f"there is no '{path}': is this a finished run's folder?") from error
    except (OSError, RecursionError, ValueError) as error:
        raise RunFolderError(f"'{path}' cannot be read: {error}.") from error
