from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pbkd.data.augmentation import Augmentation
from pbkd.data.batching import sequential_batches
from pbkd.data.datasets import ArraySplit, Dataset, Split
from pbkd.data.npz import NpzSource
from pbkd.data.sources import (
    SOURCES,
    Cifar10Source,
    Cifar100Source,
    DigitsSource,
    FashionMnistSource,
    SyntheticSource,
)
from pbkd.data.splits import split_validation
from pbkd.errors import DataError


def everything(split: Split) -> torch.Tensor:
    return torch.cat([images for images, _ in sequential_batches(split, 64)])


def rows_of(count: int, labels: list[int] | None = None) -> ArraySplit:
    """A split whose pixels are the number of the row."""
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    shown = [(7 * row) % 5 for row in range(count)] if labels is None else labels
    return ArraySplit(pixels, torch.tensor(shown, dtype=torch.int64))


def row_numbers(split: Split) -> list[int]:
    return [int(row) for row in everything(split).flatten()]


def test_sources_go_by_their_own_names() -> None:
    assert {name: source.name for name, source in SOURCES.items()} == {
        name: name
        for name in (
            "digits",
            "npz",
            "cifar10",
            "cifar100",
            "fashion-mnist",
            "imagefolder",
            "synthetic",
        )
    }


def test_validation_is_the_end_of_the_training_rows() -> None:
    train, validation = split_validation(rows_of(40), 0.25)
    assert row_numbers(train) == list(range(30))
    assert row_numbers(validation) == list(range(30, 40))


def test_a_limit_takes_the_first_rows_and_cuts_validation_off_them() -> None:
    train, validation = split_validation(rows_of(40), 0.25, limit=8)
    assert row_numbers(train) == [0, 1, 2, 3, 4, 5]
    assert row_numbers(validation) == [6, 7]
    assert len(split_validation(rows_of(40), 0.25, limit=1000)[0]) == 30


def test_rows_sorted_by_class_are_mixed_so_that_both_sides_have_every_class() -> None:
    sorted_rows = rows_of(90, [row // 30 for row in range(90)])
    train, validation = split_validation(sorted_rows, 0.3)
    assert set(train.labels.tolist()) == set(validation.labels.tolist()) == {0, 1, 2}
    assert sorted(row_numbers(train) + row_numbers(validation)) == list(range(90))
    again, _ = split_validation(sorted_rows, 0.3)
    assert row_numbers(again) == row_numbers(train)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(DataError, match=r"data\.validation"):
        split_validation(rows_of(40), share)


@pytest.mark.parametrize(("count", "share"), [(4, 0.1), (4, 0.9), (1, 0.5), (0, 0.5)])
def test_too_few_rows_to_cut_are_refused(count: int, share: float) -> None:
    with pytest.raises(DataError, match="leaves one of the two splits empty"):
        split_validation(rows_of(count), share)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.train_limit is -1"):
        split_validation(rows_of(40), 0.1, limit=-1)


def test_digits_are_the_1797_real_ones_each_in_one_split() -> None:
    from sklearn.datasets import load_digits

    data = DigitsSource().load()
    parts = [data.train, data.validation, data.test]
    assert [len(part) for part in parts] == [1077, 360, 360]
    assert (data.num_classes, data.image_shape) == (10, (1, 8, 8))
    assert data.augmentation == Augmentation(crop=1, flip=False)
    found = sorted(
        (label, *image.flatten().tolist())
        for part in parts
        for image, label in zip(everything(part), part.labels.tolist(), strict=True)
    )
    digits = load_digits()
    expected = sorted(
        (int(label), *(int(pixel * 255 / 16 + 0.5) for pixel in image))
        for image, label in zip(digits.data, digits.target, strict=True)
    )
    assert found == expected


def test_the_split_of_the_digits_never_changes() -> None:
    data = DigitsSource().load()
    # Models are shipped with scores on these images: they must be the same on every machine.
    pixels = everything(data.test).numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "dd2fbba1fda39fbe"


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
    assert data.augmentation == Augmentation(crop=2, flip=True)


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "has no y_test"),
        ({"x_train": None, "y_train": None}, "has no x_train, y_train"),
        ({"x_train": np.zeros((20, 5, 6, 3), np.float32)}, "x_train .* float32"),
        ({"x_test": np.zeros((8, 5), np.uint8)}, r"x_test .* \(8, 5\)"),
        ({"x_test": np.zeros((8, 3, 5, 6), np.uint8)}, r"x_test .* must be \(N, H, W\)"),
        ({"x_test": np.zeros((8, 5, 7, 3), np.uint8)}, r"\(3, 5, 7\)"),
        ({"x_train": np.zeros((0, 5, 6, 3), np.uint8)}, "x_train .* without an empty dimension"),
        ({"y_train": np.arange(19) % 4}, "one integer for each of the 20 images"),
        ({"y_train": np.arange(20) / 2}, "y_train .* float64"),
        ({"y_train": np.eye(20, dtype=np.int64)}, r"y_train .* \(20, 20\)"),
        ({"y_train": np.arange(20) * 7 % 4 - 1}, "train labels .* from -1 to 2"),
        ({"y_test": np.arange(8)}, "test labels .* from 0 to 7, but must be 0 … 3"),
        ({"y_train": np.zeros(20, np.int64), "y_test": np.zeros(8, np.int64)}, "1 class"),
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


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_fashion_mnist(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(1)
    files = {
        "train-images-idx3-ubyte": generator.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) * 3 % 10,
        "t10k-images-idx3-ubyte": generator.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(10, dtype=np.uint8)[::-1].copy(),
    }
    for name, array in files.items():
        write_idx(raw / name, array)
    return files


def test_fashion_mnist_is_read_from_torchvisions_folder(tmp_path: Path) -> None:
    files = write_fashion_mnist(tmp_path)
    data = FashionMnistSource(str(tmp_path)).load()
    assert (data.num_classes, data.image_shape) == (10, (1, 28, 28))
    assert data.augmentation == Augmentation(crop=2, flip=True)
    images = torch.from_numpy(files["train-images-idx3-ubyte"])[:, None]
    assert torch.equal(everything(data.train), images[:18])
    assert torch.equal(everything(data.validation), images[18:])
    assert torch.equal(
        everything(data.test), torch.from_numpy(files["t10k-images-idx3-ubyte"])[:, None]
    )
    assert data.test.labels.tolist() == list(range(9, -1, -1))
    assert len(FashionMnistSource(str(tmp_path), train_limit=10).load().train) == 9


def test_a_damaged_fashion_mnist_is_a_data_error(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="FashionMNIST cannot be read"):
        FashionMnistSource(str(tmp_path)).load()


@pytest.mark.parametrize("source", [Cifar10Source, Cifar100Source, FashionMnistSource])
def test_missing_data_names_both_ways_out(tmp_path: Path, source: Any) -> None:
    with pytest.raises(DataError, match=r"data\.path .* data\.download=true"):
        source(str(tmp_path)).load()
    assert list(tmp_path.iterdir()) == []  # nothing was fetched unasked


class StoredCifar:
    """What torchvision's CIFAR classes give: rows x 32 x 32 x 3 and a list of labels."""

    classes = 10

    def __init__(self, root: str, *, train: bool, download: bool) -> None:
        assert (root, download) == ("there", False)
        self.data = stored_cifar(30 if train else 12)
        self.targets = [row * 7 % self.classes for row in range(len(self.data))]


class StoredCifar100(StoredCifar):
    classes = 100


def stored_cifar(rows: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(rows).integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("source", "kind", "fake", "classes"),
    [
        (Cifar10Source, "CIFAR10", StoredCifar, 10),
        (Cifar100Source, "CIFAR100", StoredCifar100, 100),
    ],
)
def test_cifar_is_converted(
    monkeypatch: pytest.MonkeyPatch, source: Any, kind: str, fake: Any, classes: int
) -> None:
    # The real files cannot be imitated: torchvision checks their MD5.
    monkeypatch.setattr(f"torchvision.datasets.{kind}", fake)
    data: Dataset = source("there").load()
    assert (data.name, data.num_classes) == (source.name, classes)
    assert data.image_shape == (3, 32, 32)
    assert data.augmentation == Augmentation(crop=4, flip=True)
    expected = torch.from_numpy(stored_cifar(30)).permute(0, 3, 1, 2)
    assert torch.equal(everything(data.train), expected[:27])
    assert torch.equal(everything(data.validation), expected[27:])
    assert torch.equal(
        everything(data.test), torch.from_numpy(stored_cifar(12)).permute(0, 3, 1, 2)
    )
    assert data.test.labels.tolist() == [row * 7 % classes for row in range(12)]


def test_synthetic_images_are_always_the_same_and_can_be_learnt() -> None:
    source = SyntheticSource(classes=5, channels=2, height=9, width=7, count=200, validation=0.2)
    data, again = source.load(), source.load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [160, 40, 50]
    assert (data.num_classes, data.image_shape) == (5, (2, 9, 7))
    images = everything(data.train)
    assert torch.equal(images, everything(again.train))
    assert len({image.numpy().tobytes() for image in images}) == 160
    centres = torch.stack([images[data.train.labels == k].float().mean(0) for k in range(5)])
    distances = torch.cdist(everything(data.test).float().flatten(1), centres.flatten(1))
    nearest = distances.argmin(1)
    assert float((nearest == data.test.labels).float().mean()) > 0.95


@pytest.mark.parametrize("option", ["classes", "channels", "height", "width", "count"])
def test_synthetic_images_need_positive_numbers(option: str) -> None:
    options: Any = {option: 0}
    with pytest.raises(DataError, match=rf"data\.{option} is 0"):
        SyntheticSource(**options).load()


def test_synthetic_images_too_few_for_a_test_split_are_refused() -> None:
    with pytest.raises(DataError, match=r"test split .* is empty"):
        SyntheticSource(classes=2, count=3, validation=0.4).load()
