"""Paths as users write them, atomic writing of files, and JSON with checksums."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, BinaryIO

from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHECKSUM",
    "NotRegularError",
    "checked",
    "file_digest",
    "flush_to_disk",
    "open_file",
    "open_regular",
    "read_file",
    "read_foreign_json",
    "read_json",
    "user_path",
    "write_file",
    "write_json",
]

CHECKSUM = "sha256"
"""The key of the checksum in a JSON file."""
_MAX_BYTES = 8 * 2**20
_MOST_DIGITS = 20
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe is opened without waiting for its writer


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
    partial = path.with_name(f".{path.name}.{token_hex(4)}.partial")
    try:
        _create_folder(path.parent)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        flush_to_disk(path.parent)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _create_folder(folder: Path) -> None:
    """Create a folder and its parents, so that they are still there after a power failure."""
    missing = list(takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for one in reversed(missing):
        flush_to_disk(one.parent)


def flush_to_disk(path: Path) -> None:
    """Flush a file, or a folder's entries and with them a rename, to disk if the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_file(path: Path) -> BinaryIO:
    """Open a file that may be untrusted; a pipe or a device, which might never end, is refused.

    Raises:
        RunFolderError: The file is missing, or not a regular file.
    """
    try:
        return open_regular(path)
    except NotRegularError as error:
        raise RunFolderError(str(error)) from error
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a null character in the path
        raise RunFolderError(f"{str(path)!r} cannot be read: {error}.") from error


def read_file(path: Path, most_bytes: int = _MAX_BYTES) -> bytes:
    """Read a file that may be untrusted.

    Args:
        path: The file, or a link to it.
        most_bytes: The largest size.

    Raises:
        RunFolderError: The file is missing, too large, or not a regular file.
    """
    with open_file(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise RunFolderError(f"'{path}' is larger than {most_bytes:,} bytes.")
    return content


class NotRegularError(OSError):
    """A path is a pipe, a socket or a device, whose content might never end."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file for reading, without waiting for the writer of a pipe.

    Raises:
        NotRegularError: It is not a regular file, nor a link to one.
        OSError: It cannot be opened.
        ValueError: The path has a null character.
    """
    file = open(os.open(path, os.O_RDONLY | _NO_WAIT), "rb")  # noqa: PTH123, SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegularError(f"'{path}' is not a regular file.")
    return file


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON, atomically, with a checksum as its last member.

    A checksum that the mapping has from an earlier file is replaced.

    Raises:
        ValueError: The value contains NaN or infinity.
        RunFolderError: The file cannot be written.
    """
    tree = json.loads(json.dumps(value, allow_nan=False))
    tree.pop(CHECKSUM, None)
    text = json.dumps({**tree, CHECKSUM: _digest(tree)}, indent=2)
    write_file(path, f"{text}\n".encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of `write_json`, of at most 8 MiB, and check its checksum.

    Returns:
        The mapping, without the checksum.

    Raises:
        RunFolderError: The file is missing, damaged, or was changed by something else.
    """
    try:
        return checked(read_foreign_json(path), path)
    except RunFolderError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise RunFolderError(
                f"there is no '{path}': is this a finished run's folder?"
            ) from error
        raise


def read_foreign_json(path: Path) -> Any:
    """Read a JSON file of at most 8 MiB that need not be from `write_json`: without a checksum.

    Raises:
        RunFolderError: The file is missing, not JSON, too large, or holds an integer of more than
            64 bits.
    """
    try:
        return json.loads(read_file(path), parse_int=_integer)
    except (RecursionError, ValueError) as error:
        raise RunFolderError(f"'{path}' cannot be read: {error}.") from error


def checked(tree: Any, path: Path) -> dict[str, Any]:
    """Check the checksum of a JSON file's content.

    Args:
        tree: What `read_foreign_json` returned.
        path: The file.

    Returns:
        The content without the checksum.

    Raises:
        RunFolderError: The checksum is missing or wrong.
    """
    content = dict(tree) if isinstance(tree, dict) else {}
    expected = content.pop(CHECKSUM, None)
    try:
        digest = _digest(content)
    except (RecursionError, ValueError) as error:
        raise RunFolderError(f"'{path}' cannot be read: {error}.") from error
    if expected != digest:
        problem = "has no checksum" if expected is None else "does not match its checksum"
        raise RunFolderError(
            f"'{path}' {problem}, so it is damaged or was changed since pbkd wrote it: restore it,"
            " or make it again."
        )
    return content


def _digest(tree: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a mapping's content, however it is laid out in its file."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS or abs(int(digits)) >= 2**63:
        raise ValueError("it holds an integer of more than 64 bits")
    return int(digits)
