"""Loaders that are read in their own order: to the end, or to their length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from pbkd.data import loader_memory
from pbkd.data.loader_memory import read_loader
from pbkd.errors import DataError


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        row = 0
        while True:
            yield torch.full((1, 2, 2), row, dtype=torch.uint8), row % 3
            row = (row + 1) % 256


class StreamWithLength(Stream):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


class Wrapper:
    """A loader of another library, around that of torch."""

    def __init__(self, loader: Any, length: int) -> None:
        self.loader, self.length = loader, length

    def __iter__(self) -> Iterator[Any]:
        for images, labels in self.loader:
            yield {"image": images, "target": labels}

    def __len__(self) -> int:
        return self.length


def test_an_endless_stream_is_read_up_to_its_length() -> None:
    loader = DataLoader(StreamWithLength(50), batch_size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = read_loader(loader)
    by_hand = list(islice(loader, len(loader)))
    assert loaded.endless
    assert torch.equal(loaded.images, torch.cat([images for images, _ in by_hand]))
    assert loaded.labels is not None
    assert torch.equal(loaded.labels, torch.cat([labels for _, labels in by_hand]))
    wrapped = read_loader(Wrapper(loader, 3))
    assert (len(wrapped.images), wrapped.endless) == (48, True)


def test_a_loader_that_is_longer_than_it_says_is_read_to_its_end() -> None:
    batches = list(islice(DataLoader(Stream(), batch_size=4), 10))
    loaded = read_loader(Wrapper(batches, 5))
    assert (len(loaded.images), loaded.endless) == (40, False)
    assert len(read_loader(iter(batches)).images) == 40


def test_a_stream_with_neither_length_nor_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DataLoader(Stream(), batch_size=16)
    for limit, value in (("MAX_IMAGES_OF_STREAM", 100), ("MAX_BYTES_OF_STREAM", 400)):
        with monkeypatch.context() as patch, pytest.raises(DataError) as refused:
            patch.setattr(loader_memory, limit, value)
            read_loader(loader)
        assert "the DataLoader of Stream has no length and gives more than 1" in str(refused.value)
        assert "give its data set a __len__" in str(refused.value)


def test_images_that_do_not_fit_into_memory_are_refused_at_the_first_batch() -> None:
    with pytest.raises(DataError, match=r"take 4000\.0 GB, but can only be read in its own order"):
        read_loader(DataLoader(StreamWithLength(10**12), batch_size=16))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "gives no batches"),
        ([torch.zeros(2, 1, 4, 4), (torch.zeros(2, 1, 4, 4), [0, 1])], "others none"),
        ([torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 5)], "have the shapes"),
        ([(torch.zeros(2, 1, 4, 4), [0.5, 1])], "as for regression"),
        ([{"picture": torch.zeros(2, 1, 4, 4)}], "has the keys 'picture'"),
    ],
)
def test_batches_that_fit_nothing_are_refused(batches: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_loader(batches)
