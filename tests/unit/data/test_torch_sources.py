"""The rows of a program's sources are those that a plain loop over them has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pbkd.data.datasets import Split
from pbkd.data.normalization import Normalization
from pbkd.data.torch_data import dataset_from_torch
from pbkd.data.torch_sources import read_source
from pbkd.errors import DataError
from pbkd.models.accuracy import accuracy
from tests.unit.data.generated_loaders import CLASSES, generated_loader, plain_loop
from tests.unit.data.reading import everything

LOADERS = 320


def rows_of(split: Split) -> list[tuple[int, int]]:
    """Return the number and the class of every image."""
    numbers = everything(split)[:, 0, 0, 0].tolist()
    return sorted(zip(map(int, numbers), split.labels.tolist(), strict=True))


def rows_in(batches: list[tuple[Tensor, Tensor]]) -> list[tuple[int, int]]:
    pairs = [(images[:, 0, 0, 0].tolist(), classes.tolist()) for images, classes in batches]
    return sorted((int(n), label) for pair in pairs for n, label in zip(*pair, strict=True))


def right_by_hand(network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Return the accuracy of a network that is normalised by mean 0.5 and deviation 0.25."""
    right = count = 0
    for images, classes in batches:
        pixels = images.float() if images.is_floating_point() else images / 255
        inputs = (pixels - 0.5) / 0.25
        right += int((network(inputs).argmax(1) == classes).sum())
        count += len(classes)
    return right / count


@pytest.mark.parametrize("first", range(0, LOADERS, 40))
def test_rows_and_accuracy_are_those_of_a_plain_loop(first: int) -> None:
    for seed in range(first, first + 40):
        loader = generated_loader(seed)
        network = nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))
        try:
            split = read_source(loader, "test", scored=True).split
        except DataError as error:
            assert "gives no batches" in str(error)
            assert plain_loop(loader) == []
            continue
        batches = plain_loop(loader)
        assert rows_of(split) == rows_in(batches), seed
        channels = batches[0][0].shape[1]
        normalization = Normalization((0.5,) * channels, (0.25,) * channels)
        with torch.no_grad():
            expected = right_by_hand(network, batches)
        found = accuracy(network, split, normalization, device="cpu")
        assert found == pytest.approx(expected), seed


@pytest.mark.parametrize("first", range(0, 80, 40))
def test_rows_that_are_held_out_are_not_trained_on(first: int) -> None:
    for seed in range(first, first + 40):
        loader = generated_loader(seed)
        try:
            data = dataset_from_torch(loader, None, None, share=0.2)
        except DataError as error:
            assert any(part in str(error) for part in ("gives no batches", "splits empty"))
            continue
        splits = [rows_of(split) for split in (data.train, data.validation, data.test)]
        loop = rows_in(plain_loop(loader))
        dropped = getattr(loader, "drop_last", False)
        used = sorted(row for rows in splits for row in rows)
        assert used == loop or (dropped and set(loop) <= set(used)), seed
        if any("have copies" in note for note in data.notes):
            assert len(set(used)) < 4  # there are fewer different images than splits
            continue
        images = [{number for number, _ in rows} for rows in splits]
        assert not images[0] & images[1]
        assert not images[0] & images[2]
        assert not images[1] & images[2]
