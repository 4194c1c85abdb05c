"""Mean and standard deviation as users write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pbkd.data.normalization import Normalization, read_normalization
from pbkd.errors import ConfigError


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([0.5, 0.25], (1, 0.5)),
        (np.array([0.5, 0.25]), np.array([1, 0.5])),
        (torch.tensor([0.5, 0.25]), torch.tensor([1.0, 0.5])),
        (torch.tensor([0.5, 0.25]).view(2, 1, 1), [1.0, 0.5]),
    ],
    ids=["sequences", "arrays", "tensors", "columns"],
)
def test_numbers_are_taken_in_any_form(mean: Any, std: Any) -> None:
    assert read_normalization(mean, std) == Normalization((0.5, 0.25), (1.0, 0.5))


def test_one_number_is_one_channel() -> None:
    assert read_normalization(0.5, 0.25) == Normalization((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5], [0.5, 0.5], "'mean' has 1 values and 'std' has 2"),
        ([0.5], [0.0], r"'std' is \[0.0\], but every value must be above 0"),
        ([0.5], [-0.1], "every value must be above 0"),
        (["a"], [0.5], r"'mean' is \['a'\], but must be a list of numbers"),
        ([0.5], [float("nan")], "'std' is .*nan.*, but must be a finite number"),
        ([], [], "'mean' is .*, but must be a finite number for each channel"),
        ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "for pixels from 0 to 1: divide both by 255"),
        ([127.5], [127.5], "divide both by 255"),
    ],
)
def test_other_values_are_refused(mean: Any, std: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_normalization(mean, std)


def test_floats_are_normalised_and_the_callers_images_stay() -> None:
    images = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    before = images.clone()
    found = Normalization((0.5, 0.1, 0.2), (0.25, 0.5, 1.0)).apply(images, "cpu")
    assert torch.equal(images, before)
    torch.testing.assert_close(found[:, 0], (images[:, 0] - 0.5) / 0.25)
    assert torch.equal(Normalization.identity(3).apply(images, "cpu"), images)
