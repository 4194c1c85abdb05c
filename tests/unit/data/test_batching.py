from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from pbkd.data.augmentation import Augmentation
from pbkd.data.batching import sequential_batches, shuffled_batches, steps_per_epoch
from pbkd.data.datasets import ArraySplit, Dataset, Split
from pbkd.data.normalization import Normalization
from pbkd.data.splits import Subset
from pbkd.errors import DataError
from tests.unit.data.augmenting import shifts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLAIN = Augmentation()
BOTH = shifts(crop=2, flip=True)


def numbered(count: int, height: int = 6, width: int = 7) -> ArraySplit:
    """Images of noise, so that no two crops are alike; the label is the row's number."""
    generator = torch.Generator().manual_seed(5)
    shape = (count, 3, height, width)
    pixels = torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)
    return ArraySplit(pixels, torch.arange(count))


def epoch_of(
    split: Split, *, seed: int = 1, epoch: int = 0, phase: str = "train", batch_size: int = 8
) -> list[tuple[Tensor, Tensor]]:
    return list(
        shuffled_batches(split, batch_size, seed=seed, epoch=epoch, augmentation=BOTH, phase=phase)
    )


def same(first: Sequence[tuple[Tensor, Tensor]], second: Sequence[tuple[Tensor, Tensor]]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(x, y) and torch.equal(a, b)
        for (x, a), (y, b) in zip(first, second, strict=True)
    )


def order(epoch: Sequence[tuple[Tensor, Tensor]]) -> list[int]:
    return [int(label) for _, labels in epoch for label in labels]


def variants(image: Tensor, crop: int) -> Iterator[tuple[tuple[int, int, bool], Tensor]]:
    """Every shift and mirror image of one image, (C, H, W), pixel by pixel: the plain reference."""
    _, height, width = image.shape
    for top in range(2 * crop + 1):
        for left in range(2 * crop + 1):
            shifted = torch.zeros_like(image)
            for y in range(height):
                for x in range(width):
                    from_y, from_x = y + top - crop, x + left - crop
                    if 0 <= from_y < height and 0 <= from_x < width:
                        shifted[:, y, x] = image[:, from_y, from_x]
            yield (top, left, False), shifted
            yield (top, left, True), shifted[:, :, list(reversed(range(width)))]


def seen(augmentation: Augmentation, count: int) -> list[tuple[int, int, bool]]:
    """Augment `count` copies of one image and say which variant of it each has become."""
    image = numbered(1, 3, 4).pixels[0]
    known = {
        tuple(variant.flatten().tolist()): key
        for key, variant in variants(image, augmentation.choice.get("crop", 0))
    }
    copies = image.expand(count, -1, -1, -1)
    labels = torch.zeros(count, dtype=torch.int64)
    changed, _ = augmentation.augment(copies, labels, torch.Generator().manual_seed(0))
    assert changed.dtype == torch.uint8
    return [known[tuple(one.flatten().tolist())] for one in changed]


def test_every_shift_and_mirror_image_occurs_and_nothing_else() -> None:
    found = seen(shifts(crop=1, flip=True), 400)
    assert set(found) == {(y, x, flip) for y in range(3) for x in range(3) for flip in (0, 1)}


def test_crop_alone_never_mirrors() -> None:
    assert {flip for _, _, flip in seen(shifts(crop=1), 100)} == {False}


def test_flip_alone_mirrors_about_half_of_the_images() -> None:
    mirrored = sum(flip for _, _, flip in seen(shifts(flip=True), 1000))
    assert 420 < mirrored < 580  # five standard deviations; the generator's seed is fixed anyway


def test_no_augmentation_changes_nothing_and_draws_nothing() -> None:
    images = numbered(4).pixels
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert torch.equal(PLAIN.augment(images, torch.arange(4), generator)[0], images)
    assert torch.equal(generator.get_state(), before)


def test_augmentation_leaves_the_stored_images_alone() -> None:
    split = numbered(20)
    stored = split.pixels.clone()
    epoch_of(split)
    assert torch.equal(split.pixels, stored)


def test_the_same_epoch_is_the_same_again() -> None:
    assert same(epoch_of(numbered(50)), epoch_of(numbered(50)))


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 2}, {"phase": "finetune"}])
def test_another_epoch_seed_or_phase_has_another_order(change: dict[str, int]) -> None:
    split = numbered(50)
    assert order(epoch_of(split)) != order(epoch_of(split, **change))  # type: ignore[arg-type]


def test_a_batch_does_not_depend_on_what_was_drawn_before_it() -> None:
    split = numbered(50)
    expected = epoch_of(split, epoch=3)
    torch.manual_seed(99)
    epoch_of(split, epoch=2)
    found = []
    for batch in shuffled_batches(split, 8, seed=1, epoch=3, augmentation=BOTH):
        torch.rand(7)
        found.append(batch)
    assert same(found, expected)


def test_augmentation_depends_on_the_step_and_not_on_the_images_before() -> None:
    # One image in every row: all that can differ is the augmentation.
    one = numbered(1).pixels
    short, long = (ArraySplit(one.repeat(n, 1, 1, 1), torch.zeros(n).long()) for n in (16, 40))
    first, second = epoch_of(short), epoch_of(long)
    assert same(first, second[:2])
    assert not torch.equal(second[0][0], second[1][0])
    assert not torch.equal(second[0][0], epoch_of(long, epoch=1)[0][0])


def test_images_keep_their_labels() -> None:
    split = numbered(50)
    for images, labels in shuffled_batches(split, 8, seed=0, epoch=0, augmentation=PLAIN):
        assert torch.equal(images, split.pixels[labels])


def test_batches_are_full_and_no_image_comes_twice() -> None:
    split = numbered(50)
    epoch = epoch_of(split)
    assert [len(labels) for _, labels in epoch] == [8] * 6
    assert steps_per_epoch(split, 8) == 6
    assert len(set(order(epoch))) == 48


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    split = numbered(5)
    epoch = epoch_of(split)
    assert steps_per_epoch(split, 8) == len(epoch) == 1
    assert sorted(order(epoch)) == [0, 1, 2, 3, 4]


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(DataError, match="batch size is 0"):
        epoch_of(numbered(5), batch_size=0)


@pytest.mark.parametrize(("count", "sizes"), [(10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_in_order_gives_every_image_once_and_in_order(count: int, sizes: list[int]) -> None:
    split = numbered(count)
    passed = list(sequential_batches(split, 4))
    assert [len(labels) for _, labels in passed] == sizes
    assert torch.equal(torch.cat([images for images, _ in passed]), split.pixels)
    assert torch.equal(torch.cat([labels for _, labels in passed]), split.labels)


def test_rows_are_those_of_the_split_below() -> None:
    split = numbered(10)
    rows = Subset(Subset(split, torch.tensor([9, 1, 5, 3])), torch.tensor([2, 0]))
    assert len(rows) == 2
    assert rows.labels.tolist() == [5, 9]
    assert torch.equal(rows.images(torch.tensor([1, 0])), split.pixels[[9, 5]])


def test_normalise_is_the_textbook_formula_in_channels_last() -> None:
    images = numbered(4).pixels
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    found = Normalization(mean, std).apply(images, "cpu")
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(found[:, channel].double(), expected, rtol=0, atol=1e-6)


def test_normalise_refuses_constants_for_another_number_of_channels() -> None:
    with pytest.raises(DataError, match="3 channels, but mean and std have 1 and 1"):
        Normalization((0.5,), (0.5,)).apply(numbered(4).pixels, "cpu")


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (torch.zeros(2, 1, 4, 4).double(), torch.zeros(2).long()),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2).long()),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3).long()),
    ],
)
def test_arrays_of_a_wrong_type_or_shape_are_refused(pixels: Tensor, labels: Tensor) -> None:
    with pytest.raises(DataError, match="must be"):
        ArraySplit(pixels, labels)


def dataset(train: Split, test: Split, classes: int = 3) -> Dataset:
    return Dataset(
        name="toy",
        train=train,
        validation=numbered(3),
        test=test,
        num_classes=classes,
        image_shape=(3, 6, 7),
    )


def test_a_data_set_refuses_labels_out_of_range() -> None:
    assert dataset(numbered(3), numbered(3)).num_classes == 3
    with pytest.raises(DataError, match=r"test labels .* from 0 to 3, but must be 0 … 2"):
        dataset(numbered(3), numbered(4))
    negative = ArraySplit(numbered(3).pixels, torch.tensor([0, -1, 2]))
    with pytest.raises(DataError, match=r"train labels .* from -1 to 2"):
        dataset(negative, numbered(3))


def test_a_data_set_refuses_an_empty_split() -> None:
    with pytest.raises(DataError, match="the train split of data set 'toy' is empty"):
        dataset(numbered(0), numbered(3))
