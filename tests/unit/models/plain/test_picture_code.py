from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pbkd.data.normalization import Normalization
from pbkd.data.picture_transform import picture_transform
from pbkd.data.preparation import Preparation
from pbkd.models.plain.picture_code import picture_code

RGB = Preparation(
    channels=3,
    resize=27,
    interpolation="bicubic",
    height=24,
    width=20,
    normalization=Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
GREY = replace(RGB, channels=1, normalization=Normalization((0.5,), (0.3,)))


def prepare(preparation: Preparation) -> Any:
    names: dict[str, Any] = {"torch": torch}
    exec(picture_code(preparation), names)
    return names["prepare"]


@pytest.mark.parametrize("preparation", [RGB, GREY, replace(RGB, resize=None)])
@pytest.mark.parametrize("size", [(61, 40), (40, 61), (24, 24), (27, 27), (5, 90)])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_picture_is_prepared_as_by_the_transforms(
    tmp_path: Path, preparation: Preparation, size: tuple[int, int], orientation: int
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    wanted = picture_transform(preparation)(Image.open(tmp_path / "a.jpg"))[None]
    for picture in (tmp_path / "a.jpg", str(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg")):
        assert torch.equal(prepare(preparation)(picture), wanted)


def test_other_channels_are_given_as_pixels() -> None:
    numbers = Normalization((0.1,) * 5, (0.2,) * 5)
    many = replace(RGB, channels=5, resize=None, normalization=numbers)
    pixels = torch.randint(256, (5, 24, 20), dtype=torch.uint8)
    assert torch.equal(prepare(many)(pixels), numbers.apply(pixels[None], "cpu"))


def test_an_unknown_preparation_is_said_to_be_unknown() -> None:
    with pytest.raises(NotImplementedError, match="as the program did that made this network"):
        prepare(replace(RGB, normalization=None))("a.jpg")
