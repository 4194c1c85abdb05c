"""Conformance tests of augmentations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.data.augmentation import Augmentation
from pbkd.data.augmentation_choice import try_augmentation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from pbkd.protocols import ImageAugmentation

__all__ = ["check_augmentation"]

_CLASSES = 4
_SHAPES = ((8, 3, 8, 8), (2, 1, 12, 9), (3, 3, 32, 32), (1, 3, 8, 8))


def check_augmentation(augmentation: ImageAugmentation) -> None:
    """Check that an augmentation depends on its generator alone, and keeps shapes and types.

    It is tested on images of 1 and 3 channels, uint8 and float32, of several sizes, and a single
    one. It may refuse some of them by a `DataError`, but not all.

    Args:
        augmentation: The augmentation.

    Raises:
        AssertionError: It takes no images.
        PluginError: It breaks the contract.
    """
    wrapped = Augmentation({"name": augmentation.name}, strategy=augmentation, classes=_CLASSES)
    refusals = []
    for shape in _SHAPES:
        images = torch.randint(256, shape, generator=torch.Generator().manual_seed(0))
        for kind in (torch.uint8, torch.float32):
            try:
                try_augmentation(wrapped, images.to(kind), torch.arange(shape[0]) % _CLASSES)
            except DataError as error:
                refusals.append(str(error))
    assert len(refusals) < 2 * len(_SHAPES), f"it refuses all images: {refusals[0]}"
