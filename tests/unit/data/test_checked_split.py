"""The range of float images, and images that are read on demand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pbkd.data.batching import sequential_batches
from pbkd.data.checked_split import CheckedSplit, pixel_range
from pbkd.data.datasets import ArraySplit, Split
from pbkd.data.pixel_values import PixelRange
from pbkd.data.splits import Subset
from pbkd.errors import DataError
from tests.unit.data.reading import everything


class OnDemand:
    """Images that are read anew, and how many were."""

    def __init__(self, pixels: Tensor) -> None:
        self.labels, self.pixels, self.read_rows = torch.zeros(len(pixels)).long(), pixels, 0

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Tensor) -> Tensor:
        self.read_rows += len(indices)
        return self.pixels[indices]


def ramp(count: int = 100) -> Tensor:
    """Return images of three channels whose last one alone has the values 0 and 1."""
    images = torch.full((count, 3, 4, 4), 0.5)
    images[-1, 0], images[-1, 1], images[:, 2, 0, 0], images[-1, 2, 3, 3] = 0.25, 0.75, 0, 1
    return images


def array(pixels: Tensor) -> ArraySplit:
    return ArraySplit(pixels, torch.zeros(len(pixels)).long())


def test_all_images_in_memory_are_looked_at() -> None:
    found = pixel_range({"training": Subset(array(ramp()), torch.arange(100))})
    assert found == PixelRange((0.25, 0.5, 0.0), (0.5, 0.75, 1.0))
    assert pixel_range({"training": array((ramp() * 255).to(torch.uint8))}) is None


def test_a_sample_is_read_of_the_others_and_leaves_the_random_state() -> None:
    split, state = OnDemand(torch.rand(1000, 3, 2, 2)), torch.get_rng_state()
    found = pixel_range({"training": split})
    assert found is not None
    assert found.kind == "unit"
    assert 16 <= split.read_rows <= 64
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("on_demand", [True, False])
def test_a_pixel_that_is_no_number_is_named(value: float, on_demand: bool) -> None:
    images = ramp()
    images[37, 1, 2, 2] = value
    split: Split = CheckedSplit(OnDemand(images), "test") if on_demand else array(images)
    with pytest.raises(DataError, match="image 37, counted from 0 in the data for test, .* NaN"):
        everything(split) if on_demand else pixel_range({"test": split})


def test_images_on_demand_are_checked_whenever_they_are_read() -> None:
    images = ramp()
    checked = CheckedSplit(OnDemand(images), "training", -1e-3, 1 + 1e-3)
    assert torch.equal(everything(checked), images)
    images[61, 0, 0, 0] = 2.64
    with pytest.raises(DataError, match="image 61, .* training, .* from 0 to 2.64, but"):
        list(sequential_batches(checked, 7))
    with pytest.raises(DataError, match="image 61, counted"):
        checked.images(torch.tensor([3, 61]))


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ((ramp() - 0.5) / 0.2, "the test images are floats from -2.5 to 2.5"),
        (((ramp() - 0.5) / 0.2)[:20], "the test images are floats from -2.5 to 0"),
        (ramp() * 255, "the test images are floats from 0 to 255"),
        (ramp() / 2, ""),
    ],
)
def test_splits_of_different_kinds_are_told_apart(other: Tensor, difference: str) -> None:
    found = pixel_range({"training": array(ramp()), "test": array(other)})
    assert found is not None
    training = "the training images are floats from 0 to 1, but "
    assert found.difference == (training + difference if difference else "")


def test_bytes_go_with_floats_of_the_same_range_only() -> None:
    pixels = array((ramp() * 255).to(torch.uint8))
    found = pixel_range({"training": pixels, "test": array(ramp())})
    assert found is not None
    assert found.kind == "unit"
    with pytest.raises(DataError, match="the training images are uint8, but the test images are"):
        pixel_range({"training": pixels, "test": array(ramp() * 2 - 1)})


def test_the_image_is_named_by_its_row_in_the_programs_data() -> None:
    images = ramp()
    images[37, 0, 0, 0] = math.nan
    part = Subset(Subset(array(images), torch.arange(90, 10, -1)), torch.arange(80))
    with pytest.raises(DataError, match="image 37, counted from 0 in the data for test"):
        pixel_range({"test": part})
