"""Generated images, for trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from pbkd import hookimpl
from pbkd.data import ArraySplit, Augmentation, Dataset, crop_and_flip, split_validation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import DataSource

PBKD_CONTRACT = 2


@dataclass(frozen=True, kw_only=True)
class SyntheticSource:
    """Synthetic images, the same on every machine: a coarse pattern for each class, plus noise.

    Attributes:
        classes: Number of classes.
        channels: Channels of an image.
        height: Height of an image, in pixels.
        width: Width of an image, in pixels.
        count: Training and validation images together; there are `count` // 4 test images.
        validation: Share of these images held out for validation.
        crop: Pixels by which training images are shifted.
        flip: Mirror training images at random.
    """

    name: ClassVar[str] = "synthetic"
    classes: int = 10
    channels: int = 3
    height: int = 32
    width: int = 32
    count: int = 512
    validation: float = 0.1
    crop: int = 0
    flip: bool = False

    def load(self) -> Dataset:
        """Draw the images; needs neither a file nor the network."""
        for option in ("classes", "channels", "height", "width", "count"):
            if getattr(self, option) < 1:
                raise DataError(f"data.{option} is {getattr(self, option)}, but must be positive.")
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(self.classes, self.channels, 4, 4, generator=generator) * 128
        patterns = functional.interpolate(coarse, (self.height, self.width)).to(torch.uint8)
        everything = self._draw(self.count, patterns, generator)
        train, validation = split_validation(everything, self.validation)
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=self._draw(self.count // 4, patterns, generator),
            num_classes=self.classes,
            image_shape=everything.image_shape,
            augmentation=Augmentation(crop_and_flip(self.crop, self.flip)),
        )

    def _draw(self, count: int, patterns: Tensor, generator: torch.Generator) -> ArraySplit:
        labels = torch.arange(count) % self.classes
        shape = (count, *patterns.shape[1:])
        noise = torch.randint(128, shape, dtype=torch.uint8, generator=generator)
        return ArraySplit(noise.add_(patterns[labels]), labels)


@hookimpl
def register_data() -> list[type[DataSource]]:
    """Register the data `synthetic`."""
    return [SyntheticSource]
