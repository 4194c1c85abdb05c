from __future__ import annotations

import pytest
import torch
from pbkd_mixing import Cutmix, Mixup, register_augmentations

from pbkd.errors import ConfigError


def test_the_augmentations_are_registered() -> None:
    assert [kind.name for kind in register_augmentations()] == ["mixup", "cutmix"]


@pytest.mark.parametrize("kind", [Mixup, Cutmix])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_labels_are_mixed_by_the_shares_of_the_pixels(
    kind: type[Mixup | Cutmix], dtype: torch.dtype
) -> None:
    torch.manual_seed(3)
    images = torch.tensor([0, 100]).to(dtype).view(2, 1, 1, 1).expand(2, 5, 10, 10)
    mixed, labels = kind().augment(images, torch.Generator(), torch.eye(2))
    assert (mixed.shape, mixed.dtype) == (images.shape, dtype)
    assert labels is not None
    torch.testing.assert_close(labels.sum(1), torch.ones(2))
    bright = mixed.float().mean((1, 2, 3)) / 100
    torch.testing.assert_close(labels[:, 1], bright, atol=0.005, rtol=0)
    assert 0.01 < float(labels[0, 1]) < 0.99


def test_images_without_labels_are_mixed_alone() -> None:
    images = torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    mixed, labels = Mixup(0.5).augment(images, torch.Generator())
    assert labels is None
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_an_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and finite"):
        Mixup(alpha)
