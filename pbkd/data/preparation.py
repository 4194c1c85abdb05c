"""The preparation of pictures: every step from a picture to a network's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.data.normalization import Normalization


__all__ = ["Preparation"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a picture becomes a network's input; the steps are in the order of the attributes.

    Attributes:
        channels: 3 (RGB) or 1 (grey); other numbers have no picture format.
        resize: Length of the shorter side after resizing, in pixels; None to resize to `height` and
            `width` directly.
        interpolation: Resampling filter of Pillow, such as `bilinear`.
        height: Height of the centre crop, in pixels.
        width: Width of the centre crop, in pixels.
        normalization: Mean and std of pixel values scaled to [0, 1]; None if unknown, because the
            images were given as normalised floats.
        origins: Where the values came from: by attribute, and `mean` and `std` for `normalization`.
    """

    channels: int
    resize: int | None
    interpolation: str
    height: int
    width: int
    normalization: Normalization | None
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network's input."""
        return self.channels, self.height, self.width
