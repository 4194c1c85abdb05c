"""Random changes to training images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from pbkd.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torchvision.transforms import InterpolationMode


__all__ = ["Augmentation", "ImageDecoder"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn for each image alone.

    `crop` pads with so many black pixels on every side and cuts the old size out again at a random
    place: a shift by up to `crop` pixels each way. `flip` mirrors left to right, with probability
    one half. Both are the standard augmentation of CIFAR (He et al. 2015, arXiv:1512.03385, 4.2).
    With `area` below 1, what reads pictures from files cuts a random part of at least that share.
    With `external`, whoever gives the images changes them at random, or may.
    """

    crop: int = 0
    flip: bool = False
    area: float = 1.0
    external: bool = False

    @property
    def is_random(self) -> bool:
        """Whether images differ from one epoch to the next."""
        return bool(self.crop or self.flip or self.area < 1 or self.external)

    def seeds(self, rows: Tensor, seed: int) -> Tensor | None:
        """Return a seed for each row's random part, int64, if parts are to be cut."""
        return (rows + seed % 2**62) if self.area < 1 else None

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of `images`, uint8 (B, C, H, W); `generator` is on the CPU."""
        return self.apply(images, self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the changes of so many images, int64 (3, count): top, left, mirrored or not."""
        draws = torch.zeros(3, count, dtype=torch.int64)
        if self.crop:
            draws[:2] = torch.randint(2 * self.crop + 1, (2, count), generator=generator)
        if self.flip:
            draws[2] = torch.randint(2, (count,), generator=generator)
        return draws

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return changed copies of `images`, as drawn."""
        if self.crop:
            images = _shift(images, self.crop, draws[0], draws[1])
        if self.flip:
            mirrored = draws[2].view(-1, 1, 1, 1) == 1
            images = torch.where(mirrored, images.flip(3), images)
        return images


def _shift(images: Tensor, pixels: int, top: Tensor, left: Tensor) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    # A view with every possible crop of every image, (B, C, tops, lefts, H, W); one each is copied.
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(count), :, top, left]


_MODES = {1: "L", 3: "RGB"}
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
_LONGEST = 4 / 3  # of a random part's sides


@dataclass(frozen=True)
class ImageDecoder:
    """How a picture becomes an image of `channels` x `size` x `size`.

    Whole: resized so that a square of `size` is the part `crop_pct` of its shorter side, then that
    square from the centre, as timm and torchvision score. In part: a random rectangle of at least
    the part `area` of its pixels, sides at most 4 to 3, resized to the square, as networks for
    ImageNet are trained (Szegedy et al. 2015, arXiv 1409.4842).
    """

    size: int
    channels: int = 3
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    area: float = 1.0

    def __post_init__(self) -> None:
        """Raise `DataError` for an option out of range."""
        if self.size < 1:
            raise DataError(f"data.size is {self.size}, but must be at least 1 pixel.")
        if self.channels not in _MODES:
            raise DataError(f"data.channels is {self.channels}, but must be 1 (grey) or 3.")
        for name in ("crop_pct", "area"):
            if not 0 < getattr(self, name) <= 1:
                raise DataError(
                    f"data.{name} is {getattr(self, name)}, but must be above 0 and at most 1."
                )
        if self.interpolation not in _INTERPOLATIONS:
            raise DataError(
                f"data.interpolation is '{self.interpolation}', but must be one of"
                f" {', '.join(_INTERPOLATIONS)}."
            )

    def read(self, path: str, seed: int | None = None) -> Tensor:
        """Return the picture in a file, uint8 (C, size, size), in part where a seed is given.

        Raises `DataError` for a file that is none.
        """
        from PIL import Image

        try:
            with Image.open(path) as file:
                picture = file.convert(_MODES[self.channels])
        except Exception as error:  # each of Pillow's decoders fails with types of its own
            raise DataError(
                f"the image {path} cannot be read ({error}); replace or remove it, or set"
                " data.corrupt=skip."
            ) from error
        return self._whole(picture) if seed is None else self._part(picture, seed)

    def _whole(self, picture: Image) -> Tensor:
        from torchvision.transforms.v2 import functional as transforms

        shorter = max(self.size, round(self.size / self.crop_pct))
        resized = transforms.resize(picture, [shorter], self._mode())
        pixels: Tensor = transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))
        return pixels

    def _part(self, picture: Image, seed: int) -> Tensor:
        from torchvision.transforms.v2 import functional as transforms

        generator = torch.Generator().manual_seed(seed)
        top, left, height, width = _rectangle(picture.height, picture.width, self.area, generator)
        size = [self.size, self.size]
        cut = transforms.resized_crop(picture, top, left, height, width, size, self._mode())
        pixels: Tensor = transforms.pil_to_tensor(cut)
        return pixels

    def _mode(self) -> InterpolationMode:
        from torchvision.transforms import InterpolationMode

        return InterpolationMode(self.interpolation)


def _rectangle(
    height: int, width: int, area: float, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width); a picture too narrow for any gives its central square."""
    for _ in range(10):
        share, shape, down, right = torch.rand(4, generator=generator).tolist()
        pixels = height * width * (area + (1 - area) * share)
        ratio = math.exp((2 * shape - 1) * math.log(_LONGEST))
        wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(down * (height - high + 1)), int(right * (width - wide + 1)), high, wide
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
