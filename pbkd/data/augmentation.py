"""Random augmentation of training images: shifts and horizontal flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn independently for each image.

    Padding with a random crop and horizontal flips are the standard augmentation of CIFAR
    (He et al. 2015, arXiv:1512.03385, section 4.2).

    Attributes:
        crop: Pixels of black padding on every side before the original size is cut out at a random
            position, so images shift by up to `crop` pixels each way (0 = off).
        flip: Mirror left to right with probability 0.5.
        area: Smallest share of an image that a random resized crop covers (1 = off). The decoder
            of the image files makes this crop, see `pbkd.data.image_decoding`.
        external: The source of the images applies its own random transforms, or may do so.
    """

    crop: int = 0
    flip: bool = False
    area: float = 1.0
    external: bool = False

    @property
    def is_random(self) -> bool:
        """Whether images differ from one epoch to the next."""
        return bool(self.crop or self.flip or self.area < 1 or self.external)

    def crop_seeds(self, rows: Tensor, seed: int) -> Tensor | None:
        """Derive a seed for the random resized crop of each row.

        Args:
            rows: Row numbers, int64 (B,).
            seed: Seed of the epoch.

        Returns:
            Seeds, int64 (B,), or None if no such crop is configured.
        """
        return (rows + seed % 2**62) if self.area < 1 else None

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch with new random parameters.

        Args:
            images: Images, uint8 (B, C, H, W).
            generator: Random generator on the CPU.

        Returns:
            The augmented copies, of the same shape.
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
        if self.crop:
            draws[:2] = torch.randint(2 * self.crop + 1, (2, count), generator=generator)
        if self.flip:
            draws[2] = torch.randint(2, (count,), generator=generator)
        return draws

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch with drawn parameters.

        Args:
            images: Images, (B, C, H, W).
            draws: The parameters from `draw`, int64 (3, B).

        Returns:
            The augmented copies, of the same shape.
        """
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
