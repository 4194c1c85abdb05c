from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pbkd_npz import NpzSource, register_data

from pbkd.data import Augmentation, Split
from pbkd.errors import DataError


def everything(split: Split) -> torch.Tensor:
    return split.images(torch.arange(len(split)))


def test_the_source_is_registered() -> None:
    assert register_data() == [NpzSource]


def arrays(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    usual = {
        "x_train": generator.integers(0, 256, (20, 5, 6, 3), dtype=np.uint8),
        "y_train": np.arange(20) * 7 % 4,
        "x_test": generator.integers(0, 256, (8, 5, 6, 3), dtype=np.uint8),
        "y_test": np.arange(8) % 4,
    }
    return {key: value for key, value in {**usual, **changes}.items() if value is not None}


def stored(folder: Path, **changes: Any) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays(**changes))
    return str(path)


def test_npz_gives_the_arrays_channels_first(tmp_path: Path) -> None:
    data = NpzSource(stored(tmp_path), validation=0.25, crop=2, flip=True).load()
    given = arrays()
    expected = torch.from_numpy(given["x_train"]).permute(0, 3, 1, 2)
    assert torch.equal(everything(data.train), expected[:15])
    assert torch.equal(everything(data.validation), expected[15:])
    assert data.validation.labels.tolist() == given["y_train"][15:].tolist()
    assert torch.equal(everything(data.test), torch.from_numpy(given["x_test"]).permute(0, 3, 1, 2))
    assert (data.num_classes, data.image_shape) == (4, (3, 5, 6))
    assert data.augmentation == Augmentation({"name": "crop-flip", "crop": 2, "flip": True})


def test_npz_takes_grey_images_and_labels_in_a_column(tmp_path: Path) -> None:
    given = arrays()
    path = stored(
        tmp_path,
        x_train=given["x_train"][..., 0],
        x_test=given["x_test"][..., 0],
        y_train=given["y_train"].astype(np.uint8)[:, np.newaxis],
    )
    data = NpzSource(path, train_limit=10).load()
    assert data.image_shape == (1, 5, 6)
    assert torch.equal(everything(data.train)[:, 0], torch.from_numpy(given["x_train"][:9, ..., 0]))
    assert data.train.labels.tolist() == given["y_train"][:9].tolist()


def test_npz_takes_one_hot_labels_and_classes_that_only_the_test_images_have(
    tmp_path: Path,
) -> None:
    data = NpzSource(stored(tmp_path, y_train=np.eye(20)[:, ::-1], y_test=np.arange(15, 23))).load()
    labels = torch.cat([data.train.labels, data.validation.labels]).tolist()
    assert sorted(labels) == list(range(20))
    assert data.num_classes == 23


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f2", "f8", "longdouble"])
def test_npz_takes_floats_as_they_are(tmp_path: Path, dtype: str) -> None:
    images = (arrays()["x_train"] / 255).astype(dtype)
    data = NpzSource(stored(tmp_path, x_train=images, x_test=images[:8]), validation=0.25).load()
    expected = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)
    assert torch.equal(everything(data.train), expected[:15])


@pytest.mark.parametrize(("dtype", "scale"), [("<u2", 257), (">u2", 257), ("i4", 1), (">i8", 1)])
def test_npz_scales_16_bits_and_takes_integers_as_bytes(
    tmp_path: Path, dtype: str, scale: int
) -> None:
    given = arrays()["x_train"]
    images = (given.astype(np.int64) * scale).astype(dtype)
    data = NpzSource(stored(tmp_path, x_train=images, x_test=images[:8]), validation=0.25).load()
    found = everything(data.train)
    expected = torch.from_numpy(given[:15]).permute(0, 3, 1, 2)
    if scale == 1:
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected / 255)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "has no y_test"),
        ({"x_train": None, "y_train": None}, "has no x_train, y_train"),
        ({"x_train": np.zeros((20, 5, 6, 3), np.complex64)}, "x_train .* complex64; store"),
        ({"x_train": np.full((20, 5, 6, 3), 4095)}, "the images are int64 from 4095 to 4095"),
        ({"x_test": np.zeros((8, 5), np.uint8)}, r"x_test .* \(8, 5\)"),
        ({"x_test": np.zeros((8, 3, 5, 6), np.uint8)}, r"x_test .* must be \(N, H, W\)"),
        ({"x_test": np.zeros((8, 5, 7, 3), np.uint8)}, r"\(3, 5, 7\)"),
        ({"x_train": np.zeros((0, 5, 6, 3), np.uint8)}, "x_train .* without an empty dimension"),
        (
            {"y_train": np.arange(19) % 4},
            "has 19 labels; it must have one for each of the 20 images",
        ),
        ({"y_train": np.arange(20) / 2}, r"labels y_train in .* are numbers such as 0\.5"),
        ({"y_test": np.array(["cat", "dog"] * 4)}, "labels y_test in .* are text, such as 'cat'"),
        ({"y_train": np.arange(20) * 7 % 4 - 1}, "train labels .* from -1 to 2"),
        ({"y_train": np.array([None] * 20)}, "not a readable .npz file"),
    ],
)
def test_npz_says_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = stored(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        NpzSource(path).load()


def test_npz_says_that_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*nothing.npz.* data\.path"):
        NpzSource(str(tmp_path / "nothing.npz")).load()


def test_npz_refuses_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    single = tmp_path / "single.npy"
    np.save(single, np.zeros(3))
    for content in (b"", b"plain text", whole[: len(whole) // 2], single.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not a readable \.npz file"):
            NpzSource(str(path)).load()


def test_npz_notices_damage_inside_the_file(tmp_path: Path) -> None:
    path = Path(stored(tmp_path))
    content = bytearray(path.read_bytes())
    content[500] ^= 0xFF  # a pixel of x_train: the archive's checksum no longer holds
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        NpzSource(str(path)).load()
