"""Augmentations: random changes to training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


__all__ = ["ImageAugmentation"]


class ImageAugmentation(Protocol):
    """Changes training images at random.

    Every worker augments every batch, so that the changes must depend on the generator alone. pbkd
    tries this at the start of a run: it augments a few images twice.

    With fixed views (`views=N`) each view is augmented on its own, or with another image beside it
    if the augmentation mixes. An augmentation that acts on each image alone can have two further
    methods, which make that faster: `draw(count, generator)` returns the random parameters of
    `count` images, a tensor (parameters, count), and `apply(images, draws)` the augmented images.
    """

    name: ClassVar[str]

    def augment(
        self, images: Tensor, generator: torch.Generator
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Augment a batch.

        Called in every worker for each training batch; fine-tuning by one worker calls it in the
        host process.

        An augmentation that mixes images takes `labels`, too: float32 (B, classes), where each row
        adds up to 1; None if the images have no labels. It returns a pair of images and labels.
        Only fine-tuning uses the labels.

        Args:
            images: Images, uint8 or float32 (B, C, H, W), which must not be modified.
            generator: The only source of randomness, on the CPU; seeded by run, phase, epoch and
                batch, so that every worker gets the same images. During the call torch's global
                generator on the CPU is seeded from it, too.

        Returns:
            The augmented images, of the same shape and type; or a pair, see above.

        Raises:
            DataError: It cannot take images of this shape or type.
        """
        ...
