from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pbkd_torchvision_data import Cifar10Source, Cifar100Source, FashionMnistSource, register_data

from pbkd.data import Augmentation, Dataset, Split
from pbkd.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def everything(split: Split) -> torch.Tensor:
    return split.images(torch.arange(len(split)))


def test_the_sources_are_registered() -> None:
    assert register_data() == [Cifar10Source, Cifar100Source, FashionMnistSource]


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
    assert data.augmentation == Augmentation({"name": "crop-flip", "crop": 2, "flip": True})
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
    assert data.augmentation == Augmentation({"name": "crop-flip", "crop": 4, "flip": True})
    expected = torch.from_numpy(stored_cifar(30)).permute(0, 3, 1, 2)
    assert torch.equal(everything(data.train), expected[:27])
    assert torch.equal(everything(data.validation), expected[27:])
    assert torch.equal(
        everything(data.test), torch.from_numpy(stored_cifar(12)).permute(0, 3, 1, 2)
    )
    assert data.test.labels.tolist() == [row * 7 % classes for row in range(12)]
