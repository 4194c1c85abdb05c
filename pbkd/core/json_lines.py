"""Files of JSON lines: one mapping a line, appended by one process, read by any."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["append_line", "parse_line", "read_lines"]


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append a mapping as a line of JSON; the file's folder is created if its parent exists.

    Raises:
        RunFolderError: The file cannot be written.
    """
    line = json.dumps(data)
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("ab+") as file:
            # A line that a crash left incomplete must not swallow this one.
            start = b"\n" if file.tell() and _last_byte(file) != b"\n" else b""
            file.write(start + line.encode() + b"\n")
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read every line that holds a mapping; others, such as incomplete ones, are skipped."""
    lines = map(parse_line, path.read_bytes().splitlines())
    return [line for line in lines if line is not None]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Parse a line of JSON; None if it does not hold a mapping."""
    try:
        data = json.loads(line)
    except (RecursionError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
