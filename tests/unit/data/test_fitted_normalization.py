"""Mean and std for floats that may be scaled, or normalised, already."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import ArraySplit, Dataset
from pbkd.data.fitted_normalization import FittedNormalization, fit_normalization
from pbkd.data.normalization import Normalization
from pbkd.errors import DataError
from tests.unit.data.test_checked_split import OnDemand

STATED = Normalization((0.5, 0.4, 0.6), (0.2, 0.3, 0.1))
UNIT = torch.rand(40, 3, 5, 5, generator=torch.Generator().manual_seed(0))
BY_USER = {"mean": "mean", "std": "std"}
BY_CFG = dict.fromkeys(BY_USER, "the teacher's pretrained_cfg")
NORMALISED = STATED.apply(UNIT, "cpu").contiguous()


def dataset(pixels: Tensor) -> Dataset:
    split = ArraySplit(pixels, torch.zeros(len(pixels)).long())
    return Dataset(
        name="memory",
        train=split,
        validation=split,
        test=split,
        num_classes=2,
        image_shape=(3, 5, 5),
        augmentation=Augmentation(),
    )


def fit(pixels: Tensor, origins: dict[str, str]) -> FittedNormalization:
    stated = STATED if origins else Normalization.identity(3)
    return fit_normalization(dataset(pixels), stated, origins)


def given_to_network(pixels: Tensor, origins: dict[str, str]) -> Tensor:
    return fit(pixels, origins).normalization.apply(pixels, "cpu")


@pytest.mark.parametrize("origins", [BY_USER, BY_CFG, {"mean": "teacher.mean", "std": "std"}])
@pytest.mark.parametrize(
    "pixels",
    [UNIT, UNIT * 255, (UNIT * 255).round().to(torch.uint8), NORMALISED],
    ids=["unit", "bytes as floats", "uint8", "normalised"],
)
def test_the_network_gets_the_same_however_pixels_are_given(
    pixels: Tensor, origins: dict[str, str]
) -> None:
    rounding = 0.5 / 255 / 0.1 if pixels.dtype == torch.uint8 else 1e-4
    torch.testing.assert_close(
        given_to_network(pixels, origins), NORMALISED, rtol=0, atol=rounding + 1e-4
    )
    assert fit(pixels, origins).of_pictures == STATED


@pytest.mark.parametrize("pixels", [UNIT, UNIT * 255, NORMALISED, UNIT * 2 - 1, UNIT * 500 - 250])
def test_floats_stay_as_they_are_where_nothing_is_stated(pixels: Tensor) -> None:
    assert torch.equal(given_to_network(pixels, {}), pixels)


def test_what_pictures_need_is_known_where_it_can_be() -> None:
    assert fit(UNIT, {}).of_pictures == Normalization.identity(3)
    assert fit(UNIT * 255, {}).of_pictures == Normalization((0,) * 3, (1 / 255,) * 3)
    assert fit(NORMALISED, {}).of_pictures is None


def test_a_stated_identity_leaves_normalised_floats_alone() -> None:
    fitted = fit_normalization(dataset(NORMALISED), Normalization.identity(3), BY_USER)
    assert torch.equal(fitted.normalization.apply(NORMALISED, "cpu"), NORMALISED)


@pytest.mark.parametrize(
    "pixels", [UNIT * 2 - 1, UNIT * 500 - 250, UNIT * 1.5, (UNIT - 0.5) / 0.05], ids=range(4)
)
def test_floats_that_mean_and_std_cannot_have_made_are_refused(pixels: Tensor) -> None:
    with pytest.raises(DataError, match=r"neither in 0 … 1 nor normalised by .*: leave mean and"):
        fit(pixels, BY_USER)
    assert torch.equal(given_to_network(pixels, BY_CFG), pixels)
    assert fit(pixels, BY_CFG).of_pictures is None


@pytest.mark.parametrize(
    ("pixels", "origins", "note"),
    [
        (UNIT, BY_USER, None),
        (UNIT, BY_CFG, "so mean and std of the teacher's pretrained_cfg are applied; give mean 0"),
        (UNIT * 255, BY_CFG, "which are divided by 255"),
        (UNIT * 255, {}, ", and used as they are"),
        (NORMALISED, BY_USER, "normalised already, so mean and std are not applied"),
        (UNIT * 2 - 1, BY_CFG, "and taken as normalised already"),
        ((UNIT * 255).to(torch.uint8), BY_USER, None),
        ((UNIT > 0.5).to(torch.uint8), BY_USER, "No pixel is above 1 of 255: give images of 0 and"),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_done_is_noted(pixels: Tensor, origins: dict[str, str], note: str | None) -> None:
    notes = fit(pixels, origins).data.notes
    if note is None:
        assert notes == ()
    else:
        assert note in " ".join(notes)


def test_images_on_demand_are_checked_only_where_the_range_matters() -> None:
    late = UNIT.clone()
    late[21, 0, 0, 0] = 3.0  # no row of the sample, which has every second image
    data = replace(dataset(UNIT), train=OnDemand(late))
    rows = torch.arange(40)
    with pytest.raises(DataError, match="image 21, "):
        fit_normalization(data, STATED, BY_USER).data.train.images(rows)
    unknown = fit_normalization(data, Normalization.identity(3), {}).data
    assert torch.equal(unknown.train.images(rows), late)


def test_splits_that_are_prepared_in_different_ways_are_noted_or_refused() -> None:
    data = replace(dataset(UNIT), test=dataset(NORMALISED).test)
    with pytest.raises(
        DataError, match="floats from 0 to 1, but the test images are floats from -"
    ):
        fit_normalization(data, STATED, BY_CFG)
    (note,) = fit_normalization(data, Normalization.identity(3), {}).data.notes
    assert note.startswith("Are all images prepared in the same way? For the training images are")
