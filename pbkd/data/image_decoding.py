"""Decoding of image files: a centre crop for scoring, a random resized crop for training."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING

import torch

from pbkd.core.files import open_regular
from pbkd.data.picture_conversion import to_mode
from pbkd.data.preparation_file import PILLOW_FILTERS, PILLOW_MODES
from pbkd.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torchvision.transforms import InterpolationMode


__all__ = ["ImageDecoder"]

_MAX_ASPECT_RATIO = 4 / 3
_CROP_ATTEMPTS = 10
_MOST_PIXELS = 2**27
# Not all of Pillow's: for EPS it starts another program.
_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip


@dataclass(frozen=True)
class ImageDecoder:
    """Turns an image file of any size into a tensor (channels, size, size).

    Pictures are converted by `to_mode`: upright, and as Pillow does it, which training programs
    use.

    The centre crop is what timm and torchvision score on. The random resized crop is what networks
    for ImageNet are trained on (Szegedy et al. 2015, arXiv:1409.4842).

    Attributes:
        size: Height and width of the result, in pixels.
        channels: 1 (grey) or 3 (RGB).
        crop_pct: Share of the shorter side that the centre crop covers, in (0, 1].
        interpolation: Pillow's resampling filter, such as `bilinear` or `bicubic`.
        area: Smallest share of the pixels that a random resized crop covers, in (0, 1]; its aspect
            ratio is between 3:4 and 4:3.
    """

    size: int
    channels: int = 3
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    area: float = 1.0

    def __post_init__(self) -> None:
        """Raise `DataError` if an option is out of range."""
        if self.size < 1:
            raise DataError(f"data.size is {self.size}, but must be at least 1 pixel.")
        if self.channels not in PILLOW_MODES:
            raise DataError(f"data.channels is {self.channels}, but must be 1 (grey) or 3.")
        for name in ("crop_pct", "area"):
            if not 0 < getattr(self, name) <= 1:
                raise DataError(
                    f"data.{name} is {getattr(self, name)}, but must be above 0 and at most 1."
                )
        if self.interpolation not in PILLOW_FILTERS:
            raise DataError(
                f"data.interpolation is '{self.interpolation}', but must be one of"
                f" {', '.join(PILLOW_FILTERS)}."
            )

    @property
    def resized(self) -> int:
        """Length of the shorter side after resizing for the centre crop, in pixels."""
        return max(self.size, round(self.size / self.crop_pct))

    def read(self, picture: str | bytes, seed: int | None = None) -> Tensor:
        """Decode one file.

        Args:
            picture: The path of an image file, or the content of one.
            seed: Seed of a random resized crop; None for the centre crop.

        Returns:
            The pixels, uint8 (channels, size, size).

        Raises:
            DataError: The file cannot be decoded.
        """
        from PIL import Image

        try:
            with _opened(picture) as content, Image.open(content, formats=_formats()) as file:
                _check_size(file)
                converted = to_mode(file, PILLOW_MODES[self.channels])
        except Exception as error:  # each of Pillow's decoders fails with types of its own
            cure = "replace or remove it"
            if isinstance(picture, bytes):
                raise DataError(f"an image cannot be read ({error}); {cure}.") from error
            raise DataError(
                f"the image {picture} cannot be read ({error}); {cure}, or set data.corrupt=skip."
            ) from error
        return self._center_crop(converted) if seed is None else self._random_crop(converted, seed)

    def _center_crop(self, picture: Image) -> Tensor:
        from torchvision.transforms.v2 import functional as transforms

        resized = transforms.resize(picture, [self.resized], self._interpolation_mode())
        pixels: Tensor = transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))
        return pixels

    def _random_crop(self, picture: Image, seed: int) -> Tensor:
        from torchvision.transforms.v2 import functional as transforms

        generator = torch.Generator().manual_seed(seed)
        box = _random_box(picture.height, picture.width, self.area, generator)
        size = [self.size, self.size]
        crop = transforms.resized_crop(picture, *box, size, self._interpolation_mode())
        pixels: Tensor = transforms.pil_to_tensor(crop)
        return pixels

    def _interpolation_mode(self) -> InterpolationMode:
        from torchvision.transforms import InterpolationMode

        return InterpolationMode(self.interpolation)


def _opened(picture: str | bytes) -> IO[bytes]:
    return io.BytesIO(picture) if isinstance(picture, bytes) else open_regular(picture)


@cache
def _formats() -> list[str]:
    """Return the formats that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _check_size(picture: Image) -> None:
    """Raise `ValueError` before a picture of more pixels than a camera makes is decompressed."""
    if picture.width * picture.height > _MOST_PIXELS:
        raise ValueError(
            f"it has {picture.width:,} x {picture.height:,} pixels, but at most {_MOST_PIXELS:,}"
            " are decoded"
        )


def _random_box(
    height: int, width: int, area: float, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width); fall back on the central square if no draw fits."""
    for _ in range(_CROP_ATTEMPTS):
        share, shape, down, right = torch.rand(4, generator=generator).tolist()
        pixels = height * width * (area + (1 - area) * share)
        ratio = math.exp((2 * shape - 1) * math.log(_MAX_ASPECT_RATIO))
        box_width, box_height = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(down * (height - box_height + 1))
            left = int(right * (width - box_width + 1))
            return top, left, box_height, box_width
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
