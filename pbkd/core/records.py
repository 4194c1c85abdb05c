"""Reading of JSON files of a run folder as dataclasses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.core.files import read_json
from pbkd.core.plain_data import from_plain
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_record"]


def read_record(path: Path, hint: Any, what: str) -> Any:
    """Read a file of `write_json`, check its checksum, and convert its content.

    Args:
        path: The file.
        hint: The type of the content, as `from_plain` takes it.
        what: What the file should be, with its article, for the message.

    Raises:
        RunFolderError: The file is missing or damaged, or its content is not of this type.
    """
    tree = read_json(path)
    try:
        return from_plain(hint, tree)
    except (RecursionError, ValueError) as error:
        raise RunFolderError(f"'{path}' is not {what} of this version of pbkd.") from error
