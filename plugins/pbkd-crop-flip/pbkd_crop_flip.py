"""Random shifts and horizontal flips of training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from pbkd import hookimpl
from pbkd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import ImageAugmentation

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class CropFlip:
    """Shift images at random, and mirror them, each image on its own.

    Padding with a random crop and horizontal flips are the standard augmentation of CIFAR
    (He et al. 2015, arXiv:1512.03385, section 4.2).

    Attributes:
        crop: Pixels of black padding on every side before the original size is cut out at a random
            position, so images shift by up to `crop` pixels each way (0 = off).
        flip: Mirror left to right with probability 0.5.
    """

    name: ClassVar[str] = "crop-flip"
    crop: int = 4
    flip: bool = True

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch.

        Args:
            images: Images, uint8 or float32 (B, C, H, W).
            generator: Random generator on the CPU.

        Returns:
            The augmented images, of the same shape.

        Raises:
            DataError: `crop` is negative, or not smaller than the images.
        """
        return self.apply(images, self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the parameters of `count` augmentations.

        Args:
            count: Number of images.
            generator: Random generator on the CPU.

        Returns:
            An int64 tensor (3, count): top offset, left offset, and 1 for images to be flipped.
        """
        draws = torch.zeros(3, count, dtype=torch.int64)
        if self.crop > 0:
            draws[:2] = torch.randint(2 * self.crop + 1, (2, count), generator=generator)
        if self.flip:
            draws[2] = torch.randint(2, (count,), generator=generator)
        return draws

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment images with drawn parameters.

        Args:
            images: Images, (B, C, H, W).
            draws: The parameters from `draw`, int64 (3, B).

        Returns:
            The augmented images, of the same shape.

        Raises:
            DataError: `crop` is negative, or not smaller than the images.
        """
        smallest = min(images.shape[2:])
        if not 0 <= self.crop < smallest:
            raise DataError(
                f"the option crop of the augmentation is {self.crop}, but for images of"
                f" {tuple(images.shape[1:])} pixels it must be 0 … {smallest - 1}."
            )
        if self.crop:
            images = _shift(images, self.crop, draws[0], draws[1])
        if self.flip:
            flipped = draws[2].view(-1, 1, 1, 1) == 1
            images = torch.where(flipped, images.flip(3), images)
        return images


def _shift(images: Tensor, pixels: int, top: Tensor, left: Tensor) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    # A view of every possible crop of every image, (B, C, tops, lefts, H, W); one each is copied.
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(count), :, top, left]


@hookimpl
def register_augmentations() -> list[type[ImageAugmentation]]:
    """Register the augmentation `crop-flip`."""
    return [CropFlip]
