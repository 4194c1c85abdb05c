"""The preparation of a picture as Python code that needs torch and Pillow alone."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from pbkd.data import picture_conversion
from pbkd.data.preparation_file import PILLOW_FILTERS, PILLOW_MODES

if TYPE_CHECKING:
    from pbkd.data.preparation import Preparation

__all__ = ["picture_code"]


def picture_code(preparation: Preparation) -> str:
    """Write the function `prepare`, by the very steps of a run.

    Args:
        preparation: How a picture becomes the network's input.

    Returns:
        Its code, and the code of the functions that it calls. If the preparation is unknown, the
        function says so.
    """
    if preparation.normalization is None:
        return _UNKNOWN
    mode = PILLOW_MODES.get(preparation.channels)
    values = {
        "shape": ", ".join(map(str, preparation.image_shape)),
        "height": preparation.height,
        "width": preparation.width,
        "channels": preparation.channels,
        "mean": list(preparation.normalization.mean),
        "std": list(preparation.normalization.std),
        "mode": mode,
        "filter": f"{PILLOW_FILTERS[preparation.interpolation]},  # {preparation.interpolation}",
        "size": _size(preparation),
    }
    if mode is None:
        return _PIXELS.format(**values) + _NORMALIZE.format(**values)
    functions = (getattr(picture_conversion, name) for name in _CONVERSION)
    sources = "\n\n".join(map(inspect.getsource, functions)).replace("picture: Image", "picture")
    plain = sources.replace(") -> Image:", "):").replace("mode: str", "mode")
    return _PICTURE.format(**values) + _NORMALIZE.format(**values) + "\n\n" + plain


def _size(preparation: Preparation) -> str:
    if preparation.resize is None:
        return f"    size = ({preparation.width}, {preparation.height})\n"
    return _SHORTER.format(side=preparation.resize)


_CONVERSION = ("to_mode", "_turned_upright", "_to_8_bits")

_UNKNOWN = '''\
def prepare(picture):
    """Not known: the program that made the network gave it images that were normalised already."""
    raise NotImplementedError("prepare images as the program did that made this network")
'''

_PIXELS = '''\
def prepare(pixels):
    """Turn pixels, uint8 ({shape}), into the network's input: a batch of one, (1, {shape})."""
'''

_PICTURE = '''\
def prepare(picture):
    """Turn a picture, or the path of one, into the network's input: (1, {shape})."""
    if not hasattr(picture, "convert"):
        from PIL import Image

        picture = Image.open(picture)
    picture = to_mode(picture, "{mode}")
    width, height = picture.size
{size}    if size != picture.size:
        picture = picture.resize(
            size,
            {filter}
        )
    left = int(round((size[0] - {width}) / 2))
    top = int(round((size[1] - {height}) / 2))
    picture = picture.crop((left, top, left + {width}, top + {height}))
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    pixels = pixels.view({height}, {width}, {channels}).permute(2, 0, 1)
'''

_SHORTER = """\
    if width <= height:
        size = ({side}, int({side} * height / width))
    else:
        size = (int({side} * width / height), {side})
"""

_NORMALIZE = """\
    mean = torch.tensor({mean}).view(-1, 1, 1)
    std = torch.tensor({std}).view(-1, 1, 1)
    return ((pixels.float() / 255 - mean) / std).unsqueeze(0).contiguous()
"""
