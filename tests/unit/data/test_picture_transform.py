from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pbkd.data.image_decoding import ImageDecoder
from pbkd.data.normalization import Normalization
from pbkd.data.picture_transform import picture_transform
from pbkd.data.preparation import Preparation
from pbkd.errors import ConfigError

ORIENTATION = 0x0112


def photograph(mode: str, size: tuple[int, int] = (61, 40)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert(mode)


def prepared(channels: int = 3, interpolation: str = "bilinear") -> Preparation:
    numbers = Normalization((0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels])
    return Preparation(
        channels=channels,
        resize=27,
        interpolation=interpolation,
        height=24,
        width=24,
        normalization=numbers,
    )


@pytest.mark.parametrize(
    ("name", "mode", "orientation"),
    [
        ("a.jpg", "RGB", 1),
        ("a.jpg", "RGB", 6),
        ("a.jpg", "L", 8),
        ("a.jpg", "CMYK", 3),
        ("a.png", "P", 1),
        ("a.png", "RGBA", 5),
        ("a.png", "I;16", 1),
        ("a.webp", "RGB", 2),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_becomes_what_a_run_tests_on(
    tmp_path: Path, name: str, mode: str, orientation: int, channels: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photograph(mode).save(tmp_path / name, exif=exif)
    preparation = prepared(channels)
    assert preparation.normalization
    decoded = ImageDecoder(24, channels, 24 / 27).read(str(tmp_path / name))
    wanted = preparation.normalization.apply(decoded[None], "cpu")[0]
    with Image.open(tmp_path / name) as picture:
        found = picture_transform(preparation)(picture)
        assert picture.getexif().get(ORIENTATION) == orientation  # the user's own stays as it was
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("interpolation", ["nearest", "bicubic", "lanczos", "box", "hamming"])
def test_every_filter_is_that_of_the_decoder(tmp_path: Path, interpolation: str) -> None:
    path = tmp_path / "a.png"
    photograph("RGB", (40, 77)).save(path)
    preparation = prepared(3, interpolation)
    assert preparation.normalization
    decoded = ImageDecoder(24, 3, 24 / 27, interpolation).read(str(path))
    found = picture_transform(preparation)(Image.open(path))
    assert torch.equal(found, preparation.normalization.apply(decoded[None], "cpu")[0])


@pytest.mark.parametrize("shape", [(1, 8, 8), (5, 1, 8, 8)])
def test_arrays_of_the_right_size_are_only_normalised(shape: tuple[int, ...]) -> None:
    numbers = Normalization((0.3,), (0.7,))
    preparation = Preparation(
        channels=1, resize=None, interpolation="bilinear", height=8, width=8, normalization=numbers
    )
    pixels = torch.randint(256, shape, dtype=torch.uint8)
    before = pixels.clone()
    wanted = numbers.apply(pixels.reshape(-1, 1, 8, 8), "cpu").reshape(shape)
    assert torch.equal(picture_transform(preparation)(pixels), wanted)
    assert torch.equal(pixels, before)


def test_copies_and_pickles_are_equal() -> None:
    transform, picture = picture_transform(prepared()), photograph("RGB")
    for again in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert torch.equal(again(picture), transform(picture))


def test_an_unknown_normalisation_is_refused() -> None:
    unknown = Preparation(
        channels=3, resize=None, interpolation="bilinear", height=8, width=8, normalization=None
    )
    with pytest.raises(ConfigError, match="its run got normalised images"):
        picture_transform(unknown)
