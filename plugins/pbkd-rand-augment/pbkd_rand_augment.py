"""RandAugment, as torchvision has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import ImageAugmentation

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class RandAugment:
    """Apply random operations (shear, colour, contrast ...) to each image, all equally strong.

    Cubuk et al. 2020, arXiv:1909.13719.

    Attributes:
        operations: Operations for each image.
        magnitude: Their strength, from 0 to `bins` - 1.
        bins: Number of strengths.
    """

    name: ClassVar[str] = "rand-augment"
    operations: int = 2
    magnitude: int = 9
    bins: int = 31

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.operations < 1 or not 0 <= self.magnitude < self.bins:
            raise ConfigError(
                f"operations is {self.operations} and magnitude {self.magnitude}, but they must be"
                f" at least 1, and 0 … {self.bins - 1}."
            )

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Augment a batch.

        Args:
            images: Images, uint8 (B, 1 or 3, H, W).
            generator: Random generator; torch's global one, which torchvision draws from, is
                seeded from it.

        Returns:
            The augmented images, of the same shape.

        Raises:
            DataError: The images are floats, or have another number of channels.
        """
        if images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
            kind = str(images.dtype).removeprefix("torch.")
            raise DataError(
                f"RandAugment takes uint8 images of 1 or 3 channels, but these are {kind} with"
                f" {images.shape[1]}: choose another augmentation, such as crop-flip."
            )
        from torchvision.transforms.v2 import RandAugment as Transform

        transform = Transform(self.operations, self.magnitude, self.bins)
        return torch.stack([transform(image) for image in images])


@hookimpl
def register_augmentations() -> list[type[ImageAugmentation]]:
    """Register the augmentation `rand-augment`."""
    return [RandAugment]
