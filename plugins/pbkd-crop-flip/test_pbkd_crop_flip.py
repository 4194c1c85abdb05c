from __future__ import annotations

import pytest
import torch
from pbkd_crop_flip import CropFlip, register_augmentations

from pbkd.errors import DataError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_augmentation_is_registered() -> None:
    assert register_augmentations() == [CropFlip]
    assert CropFlip.name == "crop-flip"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_shapes_and_types_stay(dtype: torch.dtype, channels: int) -> None:
    images = torch.ones(6, channels, 5, 4, dtype=dtype)
    augmented = CropFlip(2).augment(images, generator())
    assert (augmented.shape, augmented.dtype) == (images.shape, dtype)
    assert images.eq(1).all()


def test_images_are_augmented_as_they_are_from_drawn_parameters() -> None:
    images = torch.arange(6 * 20).reshape(6, 1, 5, 4).to(torch.uint8)
    plugin = CropFlip(1)
    draws = plugin.draw(6, generator())
    assert torch.equal(plugin.augment(images, generator()), plugin.apply(images, draws))
    assert torch.equal(plugin.apply(images[2:3], draws[:, 2:3]), plugin.apply(images, draws)[2:3])
    assert not torch.equal(plugin.apply(images, draws), images)


def test_without_crop_and_flip_images_stay() -> None:
    images = torch.arange(12).reshape(1, 1, 3, 4)
    assert torch.equal(CropFlip(0, False).augment(images, generator()), images)


@pytest.mark.parametrize("crop", [-1, 3])
def test_a_crop_that_could_leave_nothing_is_refused(crop: int) -> None:
    images = torch.zeros(2, 1, 3, 4)
    assert CropFlip(2).augment(images, generator()).shape == images.shape
    with pytest.raises(DataError, match=rf"crop of the augmentation is {crop}, .* must be 0 … 2"):
        CropFlip(crop).augment(images, generator())
