from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_imagefolder import ImageFolderSource, register_data
from PIL import Image

from pbkd.data import Augmentation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def paint(folder: Path) -> str:
    for name, grey in (("black", 0), ("white", 255)):
        (folder / name).mkdir()
        for index in range(10):
            Image.new("L", (12, 9), grey).save(folder / name / f"{index}.png")
    return str(folder)


def test_the_source_is_registered() -> None:
    assert register_data() == [ImageFolderSource]


def test_folders_are_classes_and_pictures_get_the_size_that_is_asked_for(tmp_path: Path) -> None:
    source = ImageFolderSource(paint(tmp_path), size=6, channels=1, crop=2, area=0.5)
    data = source.load()
    assert (data.name, data.class_names) == (source.name, ("black", "white"))
    assert (data.num_classes, data.image_shape) == (2, (1, 6, 6))
    assert data.augmentation == Augmentation(
        {"name": "crop-flip", "crop": 2, "flip": False}, area=0.5
    )
    images = data.train.images(torch.arange(len(data.train)))
    assert torch.equal(images[:, 0, 0, 0], (data.train.labels * 255).to(torch.uint8))


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    folder = paint(tmp_path)
    for options in ({"corrupt": "ignore"}, {"workers": -1}, {"size": 0}, {"validation": 2.0}):
        with pytest.raises(DataError, match=f"data.{next(iter(options))} is"):
            ImageFolderSource(folder, **options).load()
