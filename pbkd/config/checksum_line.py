"""The checksum of a configuration that a run wrote, in the last line of its file."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_checksum", "has_checksum", "with_checksum"]

_MARK = "# sha256 of the lines above: "


def with_checksum(text: str) -> str:
    """Append the line with the checksum, a comment of YAML."""
    return f"{text}{_MARK}{_digest(text)}\n"


def has_checksum(text: str) -> bool:
    """Return whether a text has the line with the checksum."""
    return _MARK in text


def check_checksum(text: str, file: Path) -> None:
    """Check the checksum of a configuration, if it has one.

    Args:
        text: The content of the file.
        file: The file, for the message.

    Raises:
        ConfigError: The text was changed since the run wrote it.
    """
    before, mark, digest = text.rpartition(_MARK)
    if mark and digest.strip() != _digest(before):
        raise ConfigError(
            f"'{file}' does not match its checksum, so it is damaged or was changed since pbkd"
            " wrote it: restore it, or give --config a copy without the last line."
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()
