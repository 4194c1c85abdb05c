from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import Dataset
from pbkd.data.sources import (
    SOURCES,
    Cifar10Source,
    Cifar100Source,
    DigitsSource,
    FashionMnistSource,
    SyntheticSource,
)
from pbkd.errors import DataError
from tests.unit.data.reading import everything


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


@pytest.mark.parametrize("has_file", [True, False])
def test_digits_are_the_1797_real_ones_each_in_one_split(
    monkeypatch: pytest.MonkeyPatch, has_file: bool
) -> None:
    from sklearn.datasets import load_digits

    if not has_file:
        monkeypatch.setattr("pbkd.data.sources.find_spec", lambda _: None)
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

    classes = tuple(f"class {number}" for number in range(10))

    def __init__(self, root: str, *, train: bool, download: bool) -> None:
        assert (root, download) == ("there", False)
        self.data = stored_cifar(30 if train else 12)
        self.targets = [row * 7 % len(self.classes) for row in range(len(self.data))]


class StoredCifar100(StoredCifar):
    classes = tuple(f"class {number}" for number in range(100))


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
    assert (data.name, data.num_classes, data.class_names) == (source.name, classes, fake.classes)
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
