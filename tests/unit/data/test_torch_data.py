"""Splits of a program's data: nothing that is scored on is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pbkd_imagefolder import ImageFolderSource
from pbkd_npz import NpzSource
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import ToTensor

from pbkd.data.datasets import Dataset
from pbkd.data.torch_data import dataset_from_torch
from pbkd.errors import DataError
from tests.unit.data.reading import everything

COUNT = 60
X = torch.arange(COUNT, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 2, 2)
Y = torch.arange(COUNT) % 3
BOTH = TensorDataset(X, Y)
TRAIN, TEST = random_split(BOTH, [45, 15], torch.Generator().manual_seed(0))


class Pairs(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, row: int) -> Any:
        return X[row], int(Y[row])


class Stream(IterableDataset[Any]):
    def __init__(self, rows: range) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter([(X[row % COUNT], int(Y[row % COUNT])) for row in self.rows])


class Reversed(DataLoader[Any]):
    def __iter__(self) -> Any:
        return iter(list(super().__iter__())[::-1])


PAIRS = Pairs()
FIRST, LAST = SubsetRandomSampler(range(45)), SubsetRandomSampler(range(45, 60))
OVER = SubsetRandomSampler(range(40, 60))

LAST_ROWS = range(45, 60)

WAYS: dict[str, tuple[Any, Any, Any]] = {
    "tensor": (X, None, None),
    "pair": ((X, Y), None, None),
    "arrays": ((X.numpy(), Y.numpy()), None, None),
    "three arrays": ((X, Y, torch.arange(COUNT)), None, None),
    "batches without labels": ([X[:20], X[20:40], X[40:]], None, None),
    "slices": ((X[:45], Y[:45]), (X[45:], Y[45:]), LAST_ROWS),
    "data set": (PAIRS, None, None),
    "random_split": (TRAIN, TEST, TEST.indices),
    "loader": (DataLoader(PAIRS, 8, shuffle=True), None, None),
    "samplers": (DataLoader(PAIRS, 8, sampler=FIRST), DataLoader(PAIRS, sampler=LAST), LAST_ROWS),
    "repeats": (DataLoader(PAIRS, 8, sampler=WeightedRandomSampler([1.0] * 60, 200)), None, None),
    "stream": (DataLoader(Stream(range(COUNT)), 8), None, None),
    "stream that repeats": (Stream(range(3 * COUNT)), None, None),
    "batches": ([(X[:30], Y[:30]), (X[30:], Y[30:])], None, None),
}
"""Training images, test images (None to hold them out) and the rows that these are."""
OVERLAPPING: dict[str, tuple[Any, Any, Any]] = {
    "slices": ((X, Y), (X[45:], Y[45:]), LAST_ROWS),
    "a data set and its subset": (BOTH, TEST, TEST.indices),
    "samplers": (DataLoader(BOTH, 8, sampler=FIRST), DataLoader(BOTH, sampler=OVER), range(40, 60)),
    "shuffled": (DataLoader(PAIRS, 8, shuffle=True), DataLoader(PAIRS, sampler=LAST), LAST_ROWS),
    "subclass": (Reversed(PAIRS, sampler=FIRST), DataLoader(PAIRS, sampler=OVER), range(40, 60)),
    "subclasses": (Reversed(PAIRS, 8), Reversed(Subset(PAIRS, range(30, 60))), range(30, 60)),
    "concatenation": (ConcatDataset([PAIRS, PAIRS]), Subset(PAIRS, range(10)), range(10)),
}


def numbers(data: Dataset) -> list[list[int]]:
    """Return the first pixels of training, validation and test split."""
    splits = (data.train, data.validation, data.test)
    return [everything(split)[:, 0, 0, 0].int().tolist() for split in splits]


def check_disjoint(data: Dataset) -> None:
    train, validation, test = map(set, numbers(data))
    assert train
    assert validation
    assert test
    assert not train & validation
    assert not train & test
    assert not validation & test


@pytest.mark.parametrize("way", WAYS)
def test_what_is_scored_on_is_not_trained_on(way: str) -> None:
    train, test, rows = WAYS[way]
    data = dataset_from_torch(train, None, test)
    check_disjoint(data)
    assert rows is None or sorted(numbers(data)[2]) == sorted(rows)
    assert not any("not trained on" in note for note in data.notes)


@pytest.mark.parametrize("way", OVERLAPPING)
def test_training_images_that_are_scored_on_are_left_out_with_a_note(way: str) -> None:
    train, test, rows = OVERLAPPING[way]
    data = dataset_from_torch(train, None, test)
    check_disjoint(data)
    assert sorted(numbers(data)[2]) == sorted(rows)
    count = 20 if way == "concatenation" else len({*rows} & {*range(60)}) - 15 * (rows[0] == 40)
    assert any(
        f"{count} of the " in note and note.endswith("test images too: they are not trained on.")
        for note in data.notes
    )


def pixels_of_files(folder: Path) -> None:
    for part, rows in (("train", range(50)), ("test", range(50, 60))):
        for row in rows:
            path = folder / part / "ab"[row % 2] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (row, 0, 0)).save(path)


def npz(folder: Path) -> Dataset:
    images = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None], (COUNT, 4, 4))
    path, labels = folder / "data.npz", np.arange(COUNT) % 2
    np.savez(path, x_train=images[:50], y_train=labels[:50], x_test=images[50:], y_test=labels[50:])
    return NpzSource(str(path)).load()


def folder_source(folder: Path) -> Dataset:
    pixels_of_files(folder)
    return ImageFolderSource(str(folder), size=4).load()


def torchvision_folder(folder: Path) -> Dataset:
    """Two data sets of the same files, told apart by the rows of their subsets."""
    pixels_of_files(folder)
    one, two = (ImageFolder(folder / "train", ToTensor()) for _ in range(2))
    return dataset_from_torch(one, Subset(two, range(10)), Subset(two, range(10, 20)))


@pytest.mark.parametrize("make", [npz, folder_source, torchvision_folder])
def test_files_that_are_scored_on_are_not_trained_on(
    tmp_path: Path, make: Callable[[Path], Dataset]
) -> None:
    data = make(tmp_path)
    for name in ("train", "validation", "test"):
        assert len(getattr(data, name))
    names = [everything(split) for split in (data.train, data.validation, data.test)]
    rows = [{round(float(v) * (255 if part.is_floating_point() else 1)) for v in part[:, 0, 0, 0]}
            for part in names]  # fmt: skip
    assert (
        len(rows[0] | rows[1] | rows[2])
        == sum(map(len, rows))
        == (50 if make is torchvision_folder else 60)
    )


LOADER = DataLoader(PAIRS, 8)


@pytest.mark.parametrize(
    ("train", "validation", "test", "message"),
    [
        (LOADER, None, LOADER, "are given for validation or test as well"),
        (LOADER, LOADER, None, "are given for validation or test as well"),
        (LOADER, None, DataLoader(PAIRS, 8, shuffle=True), "all training images are test images"),
        ((X, Y), None, TensorDataset(X, Y), "all training images are test images"),
        (Reversed(PAIRS), PAIRS, None, "all training images are validation images"),
        (PAIRS, None, DataLoader(PAIRS, 100, drop_last=True), "for test gives no batches"),
        (X[:0], None, None, "leaves one of the two splits empty"),
        ((X, Y), None, X.clone(), "some of the images have labels"),
        ((X, Y - 1), None, None, "run from -1 to 1, but must be 0 … 1: count classes from 0"),
        ((X, Y[:5]), None, None, "labels for 60 images must be"),
        (X, None, "digits", "a str cannot be read from"),
        (X, None, {"x": X}, "a dict cannot be read from"),
        (torch.nn.Linear(2, 2), None, None, "a Linear cannot be read from"),
    ],
)
def test_data_that_cannot_be_taken_is_refused(
    train: Any, validation: Any, test: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        dataset_from_torch(train, validation, test)


def test_images_of_validation_and_test_may_be_the_same_and_it_is_noted() -> None:
    held = DataLoader(PAIRS, 8, sampler=range(50, 60))
    both = dataset_from_torch(DataLoader(PAIRS, 8, sampler=range(50)), held, held)
    assert any("10 of the 10 validation images are test images too" in note for note in both.notes)


def test_copies_of_training_images_are_noted() -> None:
    copies = (X[40:].clone(), Y[40:])
    note = "20 of the 20 test images are equal to training images, pixel by pixel."
    assert note in dataset_from_torch((X, Y), None, copies).notes
    assert dataset_from_torch((X[:40], Y[:40]), None, copies).notes == ()


def test_two_data_sets_of_torchvision_over_the_same_images_are_known_as_one() -> None:
    def fake(offset: int = 0) -> Any:
        return FakeData(40, (1, 2, 2), 3, ToTensor(), random_offset=offset)

    train = DataLoader(fake(), 8, sampler=range(30))
    for test, shared in ((Subset(fake(), range(25, 40)), 5), (Subset(fake(7), range(25, 40)), 0)):
        data = dataset_from_torch(train, None, test)
        assert len(data.train) + len(data.validation) == 30 - shared


def test_all_images_are_used_and_repetitions_stay_together() -> None:
    data = dataset_from_torch(PAIRS, DataLoader(PAIRS, sampler=range(10)), None)
    assert sum(map(len, numbers(data))) == COUNT
    sampler = [row for row in range(20) for _ in range(1 + row % 3)]
    repeated = dataset_from_torch(DataLoader(PAIRS, 4, sampler=sampler), None, None, share=0.25)
    assert sorted(row for rows in numbers(repeated) for row in rows) == sampler
    assert "20 of the 60 images of its data set (39 with repetitions)" in repeated.notes[0]
    dummy = dataset_from_torch(DataLoader(Stream(range(0, 60 * 30, 60)), 5), None, None)
    assert any("have copies among them" in note for note in dummy.notes)


def test_the_names_of_the_classes_are_those_of_the_data_set(tmp_path: Path) -> None:
    pixels_of_files(tmp_path)
    folder = ImageFolder(tmp_path / "train", ToTensor())
    for source in (folder, Subset(folder, range(0, 50, 2)), DataLoader(folder, 8)):
        assert dataset_from_torch(source, None, None).class_names == ("a", "b")
    assert dataset_from_torch(PAIRS, None, None).class_names is None
