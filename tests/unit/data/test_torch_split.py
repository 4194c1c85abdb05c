"""Items of torch data sets: labels are the items' own, and a collate function keeps their rows."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, default_collate

from pbkd.data import torch_split
from pbkd.data.torch_split import ItemReader, TorchSplit, collates_row_by_row, read_labels
from pbkd.errors import DataError

COUNT = 90
IMAGES = torch.arange(COUNT, dtype=torch.uint8).reshape(COUNT, 1, 1, 1).expand(COUNT, 1, 4, 4)
LABELS = torch.arange(COUNT) * 7 % 5
EVERY = torch.arange(COUNT)


class Items(Dataset[Any]):
    """Counts how many items are read."""

    def __init__(self, labels: Tensor = LABELS, **attributes: Any) -> None:
        self.given, self.reads = labels, 0
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        self.reads += 1
        return IMAGES[row], int(self.given[row])


class Shifted(TensorDataset):
    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        image, label = super().__getitem__(row)  # type: ignore[no-untyped-call]
        return image, (label + 1) % 5


def reader(dataset: Any, collate: Any = default_collate) -> ItemReader:
    return ItemReader(dataset, collate)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (Items(targets=LABELS.tolist()), LABELS),
        (Items(targets=LABELS.flip(0)), LABELS),
        (Items(targets=["cat"] * COUNT), LABELS),
        (Items(targets=[0, 1]), LABELS),
        (Items(labels=LABELS + 1, targets=LABELS), LABELS + 1),
        (Items(targets=LABELS + 1, target_transform=lambda label: label - 1), LABELS),
        (Shifted(IMAGES, LABELS), (LABELS + 1) % 5),
        (Subset(Shifted(IMAGES, LABELS), list(range(COUNT))), (LABELS + 1) % 5),
        (ConcatDataset([Subset(Items(targets=LABELS), range(40, 80)), Items()]), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_labels_are_those_of_the_items(dataset: Any, expected: Tensor | None) -> None:
    expected = torch.cat([LABELS[40:80], LABELS]) if expected is None else expected
    rows = torch.arange(len(dataset)).flip(0)
    assert torch.equal(read_labels(reader(dataset), rows), expected[rows])
    repeated = torch.tensor([5, 3, 5])
    assert torch.equal(read_labels(reader(dataset), repeated), expected[repeated])


def test_declared_labels_spare_the_reading_of_most_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_split, "_SECONDS_TO_CHECK", 0)
    declared, silent = Items(targets=LABELS), Items()
    for dataset in (declared, silent, Subset(declared, range(COUNT))):
        assert torch.equal(read_labels(reader(dataset), EVERY), LABELS)
    assert silent.reads > COUNT > declared.reads


def test_a_wrong_label_that_was_not_checked_is_refused_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_split, "_SECONDS_TO_CHECK", 0)
    for wrong in range(COUNT):
        targets = LABELS.clone()
        targets[wrong] = 4 - targets[wrong]
        dataset = Items(targets=targets)
        labels = read_labels(reader(dataset), EVERY)
        if not torch.equal(labels, LABELS):
            break
    split = TorchSplit(reader(dataset), EVERY, labels)
    with pytest.raises(DataError, match=rf"item {wrong} of the Items has the label .* `targets`"):
        list(split.read((rows, None) for rows in torch.split(EVERY, 16)))
    assert len(split.images(EVERY[wrong != EVERY])) == COUNT - 1


def test_items_that_change_their_labels_are_refused() -> None:
    class Fickle(Items):
        def __getitem__(self, row: int) -> tuple[Tensor, int]:
            return IMAGES[row], self.reads + random.randrange(1000)

    split = TorchSplit(reader(Fickle()), EVERY, read_labels(reader(Fickle()), EVERY))
    with pytest.raises(DataError, match="whose items keep their labels"):
        split.images(EVERY)


def drops(items: list[Any]) -> Any:
    return default_collate([item for item in items if item[1] != 3])


def sorts(items: list[Any]) -> Any:
    return default_collate(sorted(items, key=lambda item: item[1]))


def repeats(items: list[Any]) -> Any:
    return default_collate([item for item in items for _ in range(2)])


def mixes(items: list[Any]) -> Any:
    images, labels = default_collate(items)
    return images.float() + images.float().roll(1, 0), labels


def scales(items: list[Any]) -> Any:
    images, labels = default_collate(items)
    return {"image": images / 255, "label": labels}


def augments(items: list[Any]) -> Any:
    images, labels = default_collate(items)
    return images + torch.rand(images.shape), labels


@pytest.mark.parametrize(
    ("collate", "expected"),
    [(drops, False), (sorts, False), (repeats, False), (mixes, False), (scales, True),
     (augments, True)],
)  # fmt: skip
def test_a_collate_function_is_tried_on_single_items(collate: Any, expected: bool) -> None:
    before = torch.get_rng_state()
    assert collates_row_by_row(reader(Items(), collate), EVERY) is expected
    assert torch.equal(torch.get_rng_state(), before)


def test_a_collate_function_is_tried_on_more_items_than_there_are() -> None:
    def first_two(items: list[Any]) -> Any:
        return default_collate(items[:2])

    assert not collates_row_by_row(reader(Items(), first_two), torch.tensor([4, 9, 9]))


def test_a_collate_function_that_loses_an_image_later_is_refused() -> None:
    def loses(items: list[Any]) -> Any:
        return default_collate([item for item in items if int(item[0][0, 0, 0]) != 60])

    with pytest.raises(DataError, match="makes 89 images of 90 items"):
        TorchSplit(reader(Items(), loses), EVERY, LABELS).images(EVERY)
