"""Pixel values of any type, as uint8 or float32, and the range of floats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


__all__ = ["PixelRange", "check_channels_first", "to_pixels"]

_ROUNDING = 1e-3


def to_pixels(images: Tensor) -> Tensor:
    """Convert images of any type to uint8 or float32.

    Floats keep their values, uint16 is scaled to [0, 1], and integers of other types must be from 0
    to 255.

    Args:
        images: A tensor of any shape, on any device.

    Returns:
        The images, uint8 or float32, on the CPU.

    Raises:
        DataError: The type holds no pixels, or integers are out of range.
    """
    images = images.detach().cpu()
    if images.dtype in (torch.uint8, torch.float32):
        return images
    if images.is_floating_point() and images.element_size() > 1:
        return images.to(torch.float32)
    if images.dtype == torch.bool:
        return images.to(torch.uint8) * 255
    if images.dtype == torch.uint16:
        return images.to(torch.float32) / 65535
    name = str(images.dtype).removeprefix("torch.")
    if images.is_complex() or images.is_quantized or images.is_floating_point():
        raise DataError(f"the images are {name}; give them as uint8 or float32.")
    values = images.to(torch.int64)
    if values.numel() and not 0 <= int(values.min()) <= int(values.max()) <= 255:
        raise DataError(
            f"the images are {name} from {int(values.min())} to {int(values.max())}; give them as"
            " uint8, 0 … 255, as uint16, 0 … 65535, or as floats."
        )
    return values.to(torch.uint8)


def check_channels_first(shape: Sequence[int]) -> None:
    """Raise `DataError` for the shape of an image if its channels seem to come last."""
    first, height, last = shape
    if first > 4 and height > 4 and (last == 3 or (last in (1, 4) and first == height)):
        raise DataError(
            f"the images are {tuple(shape)}, with their channels last, but must be (channels,"
            " height, width): permute them, as images.permute(0, 3, 1, 2) does for a batch."
        )


@dataclass(frozen=True)
class PixelRange:
    """The values of float images.

    Attributes:
        low: Smallest value of each channel.
        high: Largest value of each channel.
        difference: How the splits differ if they are of different kinds, else nothing.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    difference: str = ""

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value that images of this kind may have."""
        if self.kind == "other":
            return -math.inf, math.inf
        return -_ROUNDING, (1 if self.kind == "unit" else 255) + _ROUNDING

    @property
    def kind(self) -> str:
        """`unit` for values in [0, 1], `bytes` for 0 … 255, else `other`."""
        low, high = min(self.low), max(self.high)
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return "unit"
        return "bytes" if low >= 0 and 16 < high <= 255 + _ROUNDING else "other"

    def __str__(self) -> str:
        """Return `from LOW to HIGH`."""
        return f"from {round(min(self.low), 2):g} to {round(max(self.high), 2):g}"
