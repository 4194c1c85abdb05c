"""The configuration in a run folder, with a checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.config.checksum_line import has_checksum, with_checksum
from pbkd.core.files import read_file, write_file
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONFIG", "configuration_file", "write_configuration"]

CONFIG = "config.yaml"


def write_configuration(folder: Path, text: str) -> None:
    """Write the configuration of a run, from `to_yaml`."""
    write_file(folder / CONFIG, with_checksum(text).encode())


def configuration_file(folder: Path) -> Path:
    """Return the file with a run's configuration, for `load_config`, which checks its checksum.

    Raises:
        RunFolderError: The file is missing, or has no checksum.
    """
    path = folder / CONFIG
    if not has_checksum(read_file(path).decode(errors="replace")):
        raise RunFolderError(
            f"'{path}' has no checksum, so it is damaged or was changed since pbkd wrote it:"
            " restore it."
        )
    return path
