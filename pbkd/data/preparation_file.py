"""The preparation of pictures as plain data for JSON, and back from untrusted data."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from pbkd.data.normalization import Normalization
from pbkd.data.preparation import Preparation
from pbkd.errors import RunFolderError

__all__ = ["PILLOW_FILTERS", "PILLOW_MODES", "preparation_from_tree", "preparation_tree"]

PILLOW_MODES = {1: "L", 3: "RGB"}
"""The mode of Pillow by the number of channels."""

PILLOW_FILTERS = {
    "nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5,
}  # fmt: skip
"""The numbers of Pillow's resampling filters."""

_MOST_PIXELS = 2**24  # of all channels: 2,364 x 2,364 in colour
_LONGEST = 2**16


def preparation_tree(preparation: Preparation) -> dict[str, Any]:
    """Write a preparation as a dictionary for JSON; `docs/student.md` documents its keys."""
    crop = {"height": preparation.height, "width": preparation.width}
    normalization = preparation.normalization
    return {
        "channels": preparation.channels,
        "mode": PILLOW_MODES.get(preparation.channels),
        "resize": {"shorter_side": preparation.resize} if preparation.resize else crop,
        "interpolation": preparation.interpolation,
        "crop": crop,
        "range": [0, 1],
        "mean": list(normalization.mean) if normalization else None,
        "std": list(normalization.std) if normalization else None,
    }


def preparation_from_tree(tree: Any, where: str) -> Preparation:
    """Read what `preparation_tree` wrote, from an untrusted file.

    Args:
        tree: The value.
        where: Its place, for the error message.

    Raises:
        RunFolderError: If it is no preparation.
    """
    if not isinstance(tree, dict):
        raise RunFolderError(f"{where} does not say how images are prepared.")
    channels = tree.get("channels")
    height, width = _size(tree.get("crop"), f"'crop' of {where}")
    if not _is_length(channels):
        raise RunFolderError(f"'channels' of {where} is not a number of channels.")
    if channels * height * width > _MOST_PIXELS:
        raise RunFolderError(f"'crop' of {where} has more than {_MOST_PIXELS:,} values.")
    resize = tree.get("resize")
    shorter = resize.get("shorter_side") if isinstance(resize, dict) else None
    direct = shorter is None and _size(resize, f"'resize' of {where}") == (height, width)
    if not direct and (not _is_length(shorter) or shorter < max(height, width)):
        raise RunFolderError(f"'resize' of {where} does not fit its crop.")
    if tree.get("interpolation") not in list(PILLOW_FILTERS):
        raise RunFolderError(f"'interpolation' of {where} is none of {', '.join(PILLOW_FILTERS)}.")
    return Preparation(
        channels=channels,
        resize=shorter,
        interpolation=tree["interpolation"],
        height=height,
        width=width,
        normalization=_normalization(tree, channels, where),
    )


def _normalization(tree: dict[str, Any], channels: int, where: str) -> Normalization | None:
    if tree.get("mean") is None and tree.get("std") is None:
        return None
    mean, std = (
        _numbers(tree.get(key), channels, f"'{key}' of {where}") for key in ("mean", "std")
    )
    return Normalization(mean, std)


def _is_length(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= _LONGEST


def _size(value: Any, where: str) -> tuple[int, int]:
    tree = value if isinstance(value, dict) else {}
    height, width = tree.get("height"), tree.get("width")
    if not _is_length(height) or not _is_length(width):
        raise RunFolderError(f"{where} is not a height and a width in pixels.")
    return height, width


def _numbers(value: Any, count: int, where: str) -> tuple[float, ...]:
    right = isinstance(value, list) and len(value) == count
    if not right or not all(type(v) in (int, float) and math.isfinite(v) for v in value):
        raise RunFolderError(f"{where} is no list of {count} numbers.")
    return tuple(map(float, value))
