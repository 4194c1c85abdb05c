"""Files of JSON lines: one mapping a line, appended by one process, read by any.

Every line ends with the CRC-32 of what is before it, as the member `crc32`.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from pbkd.core.files import read_file
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["MOST_BYTES", "append_line", "is_damaged", "json_line", "parse_line", "read_lines"]

MOST_BYTES = 2**28
"""The largest size of a file."""
_CHECKSUM = b', "crc32": "'
_TORN = b" (torn)"
"""The end of a line that was incomplete when its writer came back."""
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def json_line(data: Mapping[str, Any]) -> bytes:
    """Return a mapping, which is not empty, as a line with its checksum."""
    body = json.dumps(data).encode()
    return body[:-1] + _CHECKSUM + _crc(body) + b"\n"


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append a mapping as a line of JSON; the file's folder is created if its parent exists.

    Args:
        path: The file; a link or a pipe is refused.
        data: The mapping, which is not empty.

    Raises:
        RunFolderError: The file cannot be written.
    """
    line = json_line(data)
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _SAFELY, 0o666)
        with open(descriptor, "ab+") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RunFolderError(f"'{path}' cannot be written: it is not a regular file.")
            # A line that a crash left incomplete must not swallow this one.
            start = _TORN + b"\n" if file.tell() and _last_byte(file) != b"\n" else b""
            file.write(start + line)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read every line that is whole; others are skipped.

    Raises:
        RunFolderError: The file cannot be read, is not a regular file or larger than 256 MiB.
    """
    lines = map(parse_line, read_file(path, MOST_BYTES).split(b"\n"))
    return [line for line in lines if line is not None]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse a line; None if it is incomplete or damaged."""
    head, mark, crc = line.rstrip(b"\n").rpartition(_CHECKSUM)
    body = head + b"}"
    if not mark or crc != _crc(body):
        return None
    try:
        data = json.loads(body)
    except (RecursionError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def is_damaged(line: bytes) -> bool:
    """Return whether a line that ends with a newline is neither whole nor a crash's remainder."""
    text = line.rstrip(b"\n")
    return bool(text) and not text.endswith(_TORN) and parse_line(text) is None


def _crc(body: bytes) -> bytes:
    return b'%08x"}' % zlib.crc32(body)


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
