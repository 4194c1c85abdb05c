"""Arrays in numpy archives (.npz), which may be hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pbkd.core.archives import expansion_of
from pbkd.core.files import open_regular, user_path
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["read_npz"]


def read_npz(
    path: str, required: Sequence[str], optional: Sequence[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Read arrays from a numpy archive, of which nothing is unpickled.

    Args:
        path: The file; `~` is the user's home.
        required: The arrays that it must have.
        optional: Further arrays, which are read if it has them.

    Raises:
        DataError: It is unreadable, expands beyond all measure, or lacks a required array.
    """
    file = user_path(path)
    if not file.is_file():
        raise DataError(f"there is no file '{path}'; set data.path to an .npz file.")
    try:
        with open_regular(file) as content, np.load(content, allow_pickle=False) as arrays:
            missing = set(required) - set(arrays.files)
            if missing:
                raise DataError(f"{path} has no {', '.join(sorted(missing))}; add the arrays.")
            keys = [*required, *(key for key in optional if key in arrays.files)]
            if expansion := expansion_of(arrays.zip):
                raise ValueError(expansion)
            found = {key: arrays[key] for key in keys}
            if not all(isinstance(array, np.ndarray) for array in found.values()):
                raise ValueError("a member is no array")
            return found
    except DataError:
        raise
    except Exception as error:  # zip, its compressions and numpy fail with types of their own
        raise DataError(f"{path} is not a readable .npz file of plain arrays ({error}).") from error
