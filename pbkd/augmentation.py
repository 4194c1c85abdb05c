"""Random changes to training images."""

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
    """Random changes to training images, drawn for each image alone.

    `crop` pads with so many black pixels on every side and cuts the old size out again at a random
    place: a shift by up to `crop` pixels each way. `flip` mirrors left to right, with probability
    one half. Both are the standard augmentation of CIFAR (He et al. 2015, arXiv:1512.03385, 4.2).
    With `area` below 1, what reads pictures from files cuts a random part of at least that share.
    With `own`, whoever gives the images changes them at random, or may.
    """

    crop: int = 0
    flip: bool = False
    area: float = 1.0
    own: bool = False

    @property
    def changes(self) -> bool:
        """Whether images differ from one epoch to the next."""
        return bool(self.crop or self.flip or self.area < 1 or self.own)

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
