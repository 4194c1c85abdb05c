"""The preparation of a run, and the sentence that says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pbkd_imagefolder import ImageFolderSource
from PIL import Image

from pbkd.data.data_preparation import prepare
from pbkd.data.fitted_normalization import fit_normalization
from pbkd.data.normalization import Normalization
from pbkd.data.picture_transform import picture_transform
from pbkd.data.preparation import Preparation, describe_preparation
from pbkd.data.preprocessing import CFG
from pbkd.training.task import DistillationTask
from tests.unit.data.reading import everything
from tests.unit.data.test_fitted_normalization import NORMALISED, UNIT, dataset
from tests.unit.data.test_fitted_normalization import STATED as FLOATS

STATED = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BY_USER = {"mean": "teacher.mean", "std": "teacher.std"}


def photographs(folder: Path) -> list[str]:
    """Write noise of several sizes into two classes, and return the paths of the test pictures."""
    random = np.random.RandomState(0)
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True)
            for index, size in enumerate([(40, 31), (25, 60), (33, 33)]):
                pixels = random.randint(0, 256, (*size, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.png")
    return sorted(str(path) for path in (folder / "test").rglob("*.png"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"crop_pct": 0.875, "interpolation": "bicubic"},
        {"crop_pct": 0.4, "channels": 1},
        {"size": 23, "crop_pct": 0.95, "interpolation": "nearest"},
        {"size": 48, "interpolation": "lanczos"},
    ],
    ids=str,
)
def test_the_preparation_of_a_folder_makes_the_very_pixels_of_its_run(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    paths = photographs(tmp_path)
    data = ImageFolderSource(str(tmp_path), **{"size": 24, **options}).load()
    channels = options.get("channels", 3)
    stated = Normalization(STATED.mean[:channels], STATED.std[:channels])
    fitted = fit_normalization(data, stated, BY_USER)
    transform = picture_transform(prepare(data, fitted, BY_USER))
    seen = fitted.normalization.apply(everything(data.test), "cpu")
    assert torch.equal(torch.stack([transform(Image.open(path)) for path in paths]), seen)


def said(preparation: Preparation) -> str:
    return describe_preparation(preparation)


def test_one_sentence_says_every_step_of_a_folder_and_its_origin(tmp_path: Path) -> None:
    photographs(tmp_path)
    data = ImageFolderSource(str(tmp_path), size=28, crop_pct=0.875).load()
    origins = {
        "size": CFG, "channels": "default", "crop_pct": "data.crop_pct", "interpolation": "default",
        **BY_USER,
    }  # fmt: skip
    preparation = prepare(data, fit_normalization(data, STATED, BY_USER), origins)
    assert said(preparation) == (
        "Images: turned upright, shorter side to 32 pixels (data.crop_pct), bilinear (default),"
        f" centre crop of 28 x 28 pixels ({CFG}), RGB (default),"
        " pixels of 0 … 255 scaled to 0 … 1,"
        " mean [0.485, 0.456, 0.406] (teacher.mean), std [0.229, 0.224, 0.225] (teacher.std)."
    )


def test_arrays_are_told_as_they_were_given(digits: DistillationTask) -> None:
    assert said(digits.preparation) == (
        "Images: 8 x 8 pixels and 1 channel(s) as given (data=digits),"
        " pixels of 0 … 255 scaled to 0 … 1, mean [0.5] and std [0.5] (the model zoo)."
    )


@pytest.mark.parametrize(
    ("pixels", "origins", "values"),
    [
        (NORMALISED, {}, "floats from -6 to 3.99 as given."),
        (UNIT, {}, "floats from 0 to 1 as given."),
        (UNIT, BY_USER, "floats from 0 to 1, mean [0.5, 0.4, 0.6] (teacher.mean), std"),
        (UNIT * 255, BY_USER, "floats from 0.02 to 254.96 scaled to 0 … 1, mean [0.5, 0.4, 0.6]"),
        (NORMALISED, BY_USER, "floats from -6 to 3.99 as given, mean [0.5, 0.4, 0.6]"),
    ],
    ids=range(5),
)  # fmt: skip
def test_floats_are_told_with_what_happens_to_them(
    pixels: torch.Tensor, origins: dict[str, str], values: str
) -> None:
    stated = FLOATS if origins else Normalization.identity(3)
    fitted = fit_normalization(dataset(pixels), stated, origins)
    assert values in said(prepare(fitted.data, fitted, origins))
