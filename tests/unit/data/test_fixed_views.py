from __future__ import annotations

import torch

from pbkd.data.datasets import ArraySplit
from pbkd.data.fixed_views import FixedViews
from tests.unit.data.augmenting import shifts

AUGMENTATION = shifts(crop=2, flip=True)


def _split() -> ArraySplit:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (50, 1, 6, 6), dtype=torch.uint8, generator=generator)
    return ArraySplit(pixels, torch.arange(50))


def test_a_view_is_always_the_same_and_views_differ() -> None:
    views = FixedViews(_split(), AUGMENTATION, 3, seed=1)
    assert len(views) == 150
    rows = torch.arange(150)
    images = views.images(rows)
    assert torch.equal(views.images(rows.flip(0)), images.flip(0))
    assert views.labels[[7, 57, 107]].tolist() == [7, 7, 7]
    same = [torch.equal(images[row], images[row + 50]) for row in range(50)]
    assert sum(same) < 10  # of 50 ways to shift and mirror, two are seldom the same
    again = FixedViews(_split(), AUGMENTATION, 3, seed=1)
    assert torch.equal(again.images(torch.arange(150)), views.images(torch.arange(150)))


def test_a_view_is_a_shift_of_its_image() -> None:
    split = _split()
    views = FixedViews(split, shifts(crop=1), 1, seed=0)
    padded = torch.nn.functional.pad(split.pixels, (1, 1, 1, 1))
    for row in range(len(split)):
        (image,) = views.images(torch.tensor([row]))
        shifted = [
            padded[row, :, top : top + 6, left : left + 6] for top in range(3) for left in range(3)
        ]
        assert any(torch.equal(image, one) for one in shifted)
