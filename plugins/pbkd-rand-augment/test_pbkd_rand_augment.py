from __future__ import annotations

from typing import Any

import pytest
import torch
from pbkd_rand_augment import RandAugment, register_augmentations

from pbkd.errors import ConfigError, DataError


def test_the_augmentation_is_registered() -> None:
    assert register_augmentations() == [RandAugment]
    assert RandAugment.name == "rand-augment"


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_changed_on_its_own(channels: int) -> None:
    image = torch.randint(256, (1, channels, 8, 8), dtype=torch.uint8)
    images = image.expand(12, -1, -1, -1)
    augmented = RandAugment().augment(images, torch.Generator())
    assert (augmented.shape, augmented.dtype) == (images.shape, torch.uint8)
    assert len({one.numpy().tobytes() for one in augmented}) > 3
    assert torch.equal(images[0], image[0])


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 4, 8, 8, dtype=torch.uint8)]
)
def test_images_that_it_cannot_take_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(DataError, match="takes uint8 images of 1 or 3 channels, but these are"):
        RandAugment().augment(images, torch.Generator())


@pytest.mark.parametrize("options", [{"operations": 0}, {"magnitude": 31}, {"magnitude": -1}])
def test_options_out_of_range_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match="must be at least 1, and 0 … 30"):
        RandAugment(**options)
