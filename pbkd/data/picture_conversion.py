"""Conversion of pictures to 8-bit grey or RGB, upright.

Exported students carry a copy of these functions, so they use nothing of pbkd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


__all__ = ["to_mode"]


def to_mode(picture: Image, mode: str) -> Image:
    """Turn a picture upright, and convert it to 8 bits per channel.

    It is turned as its EXIF orientation says, 16-bit grey is scaled to 8 bits, and everything else
    is converted as Pillow does it: transparency is dropped, and of several frames the first is
    taken.

    Args:
        picture: The picture.
        mode: Pillow's `L` or `RGB`.

    Returns:
        A picture of this mode; `picture` stays as it is.

    Raises:
        ValueError: The range of the pixels is unknown: they are floats, or integers of 32 bits.
    """
    return _to_8_bits(_turned_upright(picture)).convert(mode)


def _turned_upright(picture: Image) -> Image:
    from PIL import ImageOps

    picture.load()
    try:
        picture.getexif()
    except Exception:  # damaged EXIF, which has no orientation either
        return picture
    turned = ImageOps.exif_transpose(picture)
    turned.format = picture.format
    return turned


def _to_8_bits(picture: Image) -> Image:
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        kind = "floats" if picture.mode == "F" else "integers of 32 bits"
        raise ValueError(f"its pixels are {kind}, of unknown range: save it with 8 or 16 bits")
    if picture.mode != "I" and not picture.mode.startswith("I;16"):
        return picture
    import numpy as np
    from PIL import Image

    deep = np.asarray(picture).astype(np.uint32)
    return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
