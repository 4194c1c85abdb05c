"""Runs on a program's loaders: the figures are those of a plain loop over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    get_worker_info,
)

import pbkd
from pbkd.config.load import load_config
from pbkd.data.batching import sequential_batches
from pbkd.data.datasets import Split
from pbkd.data.torch_sources import read_source
from pbkd.errors import DataError


class Pictures(Dataset[Any]):
    """The class of a picture is its bright quarter, but the last 40 of 200 are labelled wrongly."""

    def __len__(self) -> int:
        return 200

    def __getitem__(self, row: int) -> Any:
        label = row % 4
        image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(row))
        image[0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 3
        return image, torch.tensor([(label + (row >= 160)) % 4])


class Opened(Pictures):
    """Can be read by processes only, which open it."""

    opened = False

    def __getitem__(self, row: int) -> Any:
        if not self.opened:
            raise OSError("the file is not open")
        return super().__getitem__(row)


def open_in_worker(_worker: int) -> None:
    get_worker_info().dataset.opened = True  # type: ignore[union-attr]


class Sharded(IterableDataset[Any]):
    """A stream whose processes read a part each: for ever, or once."""

    def __init__(self, *, endless: bool) -> None:
        self.endless = endless

    def __len__(self) -> int:
        return 50

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            yield from (Pictures()[row] for row in range(start, 50, step))
            if not self.endless:
                return


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from (Pictures()[row] for row in range(160))

    def __len__(self) -> int:
        return 160


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Return a network that is right on all pictures with right labels."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    images, labels = next(iter(DataLoader(Pictures(), 160)))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels[:, 0]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network


def by_hand(network: nn.Module, loader: DataLoader[Any]) -> float:
    with torch.no_grad():
        right = [(network(images).argmax(1) == labels[:, 0]) for images, labels in loader]
    return float(torch.cat(right).float().mean())


def compressed(network: nn.Module, out: Path, train: Any, **options: Any) -> Any:
    quickly: dict[str, Any] = {
        "distill": {"epochs": 1, "student_fed_epochs": 1},
        "finetune": {"epochs": 1},
        "threads": 1,
        "target": {"block_drop": 100},
        "meters": [],
        "out": str(out),
    }
    return pbkd.compress(network, train, quiet=True, **quickly, **options)


def test_samplers_tell_training_and_test_images_of_one_data_set_apart(
    network: nn.Module, tmp_path: Path
) -> None:
    pictures = Pictures()
    train = DataLoader(pictures, 16, sampler=SubsetRandomSampler(range(150)))
    test = DataLoader(pictures, 16, sampler=SubsetRandomSampler(range(140, 200)))
    before = torch.get_rng_state()
    result = compressed(network, tmp_path, train, test=test)
    assert torch.equal(torch.get_rng_state(), before)
    assert result.teacher.accuracy == pytest.approx(by_hand(network, test))
    assert result.teacher.accuracy == pytest.approx(20 / 60)
    assert any("10 of the 150 training images are test images too" in n for n in result.notes)
    assert load_config(file=Path(result.folder) / "config.yaml").batch_size == 16


def test_an_endless_stream_of_a_known_length_ends(network: nn.Module, tmp_path: Path) -> None:
    result = compressed(network, tmp_path, DataLoader(Endless(), 20), batch_size=32)
    assert result.teacher.accuracy == 1
    assert any("The 160 training images were read from the" in note for note in result.notes)
    assert load_config(file=Path(result.folder) / "config.yaml").batch_size == 32


def rows_of(split: Split) -> list[list[float]]:
    return sorted(
        [*map(float, image[0, 0]), float(label)]
        for images, labels in sequential_batches(split, 32)
        for image, label in zip(images, labels, strict=True)
    )


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        (Pictures(), {"prefetch_factor": 3, "timeout": 60}),
        (Opened(), {"worker_init_fn": open_in_worker}),
        (Sharded(endless=False), {"persistent_workers": True}),
    ],
    ids=["map-style", "opened by its processes", "sharded"],
)
def test_loaders_with_processes_give_their_rows(dataset: Any, options: dict[str, Any]) -> None:
    loader = DataLoader(dataset, 16, num_workers=2, **options)
    split = read_source(loader, "test", scored=True).split
    expected = [
        [*map(float, image[0, 0]), float(label)]
        for images, labels in loader
        for image, label in zip(images, labels, strict=True)
    ]
    assert rows_of(split) == sorted(expected)


def test_endless_processes_are_stopped_and_their_errors_are_one_sentence() -> None:
    loader = DataLoader(Sharded(endless=True), 16, num_workers=2, persistent_workers=True)
    assert len(read_source(loader, "test", scored=True).split) == 64
    with pytest.raises(DataError, match=r"cannot be read \(OSError: the file is not open\)"):
        read_source(DataLoader(Opened(), 16, num_workers=1), "test", scored=True)
