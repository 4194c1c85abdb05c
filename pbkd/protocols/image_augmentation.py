"""Augmentations: random changes to training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


__all__ = ["ImageAugmentation"]


class ImageAugmentation(Protocol):
    """Changes training images at random."""

    name: ClassVar[str]

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch.

        Called in every worker for each training batch, and in the host process for fine-tuning.

        Args:
            images: Images, uint8 (B, C, H, W), which must not be modified.
            generator: The only source of randomness, on the CPU; seeded by run, phase, epoch and
                batch, so that every worker gets the same images.

        Returns:
            The augmented images, of the same shape and type.
        """
        ...
