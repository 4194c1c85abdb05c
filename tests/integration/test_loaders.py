"""Runs on a program's loaders: the figures are those of a plain loop over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler

import pbkd
from pbkd.config.load import load_config


class Pictures(Dataset[Any]):
    """The class of a picture is its bright quarter, but the last 40 of 200 are labelled wrongly."""

    def __len__(self) -> int:
        return 200

    def __getitem__(self, row: int) -> Any:
        label = row % 4
        image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(row))
        image[0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 3
        return image, torch.tensor([(label + (row >= 160)) % 4])


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
        nn.functional.cross_entropy(network(images), labels[:, 0]).backward()
        optimiser.step()
    return network


def by_hand(network: nn.Module, loader: DataLoader[Any]) -> float:
    with torch.no_grad():
        right = [(network(images).argmax(1) == labels[:, 0]) for images, labels in loader]
    return float(torch.cat(right).float().mean())


def compressed(network: nn.Module, out: Path, train: Any, **options: Any) -> Any:
    once = {"distill": {"epochs": 1, "student_fed_epochs": 1}, "finetune": {"epochs": 1}}
    quiet = {"quiet": True, "meters": [], "threads": 1, "out": str(out), "max_drop": 1.0}
    return pbkd.compress(network, train, **quiet, **once, **options)


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
