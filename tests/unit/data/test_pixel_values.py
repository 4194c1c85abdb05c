"""Pixels of any type."""

from __future__ import annotations

import pytest
import torch

from pbkd.data.pixel_values import PixelRange, check_channels_first, to_pixels
from pbkd.errors import DataError

BYTES = torch.tensor([0, 1, 128, 255])


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint32, torch.uint64]
)
def test_integers_from_0_to_255_are_bytes(dtype: torch.dtype) -> None:
    found = to_pixels(BYTES.to(dtype))
    assert found.dtype == torch.uint8
    assert found.tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_keep_their_values(dtype: torch.dtype) -> None:
    given = torch.tensor([-2.125, 0.0, 0.5, 300.0], dtype=dtype, requires_grad=True)
    found = to_pixels(given)
    assert found.dtype == torch.float32
    assert found.tolist() == given.tolist()
    assert not found.requires_grad


def test_16_bits_and_truth_values_are_scaled() -> None:
    deep = to_pixels(torch.tensor([0, 257, 65535]).to(torch.uint16))
    torch.testing.assert_close(deep, torch.tensor([0, 1 / 255, 1.0]))
    assert to_pixels(torch.tensor([False, True])).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.tensor([0, 4095]), "the images are int64 from 0 to 4095; give them as uint8"),
        (torch.tensor([-1, 5], dtype=torch.int16), "int16 from -1 to 5"),
        (torch.tensor([-128, 127], dtype=torch.int8), "int8 from -128 to 127"),
        (torch.tensor([1j]), "the images are complex64; give them as uint8 or float32"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "the images are float8_e4m3fn"),
    ],
)
def test_other_values_are_refused_by_name(images: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_pixels(images)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0.0, 1.0, "unit"), (0.2, 0.4, "unit"), (-1e-5, 1.00001, "unit"), (0.0, 255.0, "bytes"),
        (0.0, 40.0, "bytes"), (-0.42, 2.82, "other"), (-1.0, 1.0, "other"), (-0.13, 0.87, "other"),
        (-124.0, 151.0, "other"), (0.0, 65535.0, "other"), (0.0, 1.2, "other"),
    ],
)  # fmt: skip
def test_the_range_of_floats_tells_their_kind(low: float, high: float, kind: str) -> None:
    assert PixelRange((low, low), (low, high)).kind == kind


@pytest.mark.parametrize("shape", [(32, 32, 3), (24, 32, 3), (28, 28, 1), (8, 8, 4)])
def test_channels_that_come_last_are_noticed(shape: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match=r"with their channels last, .* images\.permute\(0, 3, 1"):
        check_channels_first(shape)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 5, 3), (64, 100, 1), (12, 8, 4)])
def test_other_shapes_may_be_images(shape: tuple[int, int, int]) -> None:
    check_channels_first(shape)
