"""Samplers without an end or without rows, and the batch sizes of loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from pbkd.data.loader_rows import batch_size_of, rows_of
from pbkd.errors import DataError


class Numbers(Dataset[Any]):
    def __init__(self, count: int = 20) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: Any) -> Any:
        raise AssertionError("the rows are found without reading an item")


class Endless:
    def __iter__(self) -> Iterator[int]:
        while True:
            yield from range(20)


class EndlessWithLength(Endless):
    def __len__(self) -> int:
        return 30


class ByName(Endless):
    def __iter__(self) -> Iterator[Any]:
        return iter(["a", "b"])


class NoLength(Dataset[Any]):
    def __getitem__(self, row: int) -> Any:
        raise AssertionError


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.data.loader_rows._PATIENCE", 500)


def found(loader: DataLoader[Any], *, scored: bool = True) -> list[int] | None:
    rows = rows_of(loader, scored=scored)
    return None if rows is None else rows.tolist()


def test_an_endless_sampler_is_stopped_at_the_length_of_its_loader() -> None:
    sampler: Any = EndlessWithLength()
    assert found(DataLoader(Numbers(), 10, sampler=sampler)) == sorted([*range(20), *range(10)])
    batches: Any = BatchSampler(sampler, 7, drop_last=True)
    assert len(found(DataLoader(Numbers(), batch_sampler=batches)) or ()) == 28


def test_an_endless_sampler_without_a_length_is_refused() -> None:
    sampler: Any = Endless()
    with pytest.raises(DataError, match="the loader has no length and yields more"):
        found(DataLoader(Numbers(), 10, sampler=sampler))


def test_a_length_that_is_too_small_hides_no_rows() -> None:
    class Short(DataLoader[Any]):
        def __len__(self) -> int:
            return 1

    assert found(Short(Numbers(), 4)) == list(range(20))


def test_rows_are_counted_from_both_ends_and_checked() -> None:
    assert found(DataLoader(Numbers(), 4, sampler=[3, -1, 3])) == [3, 3, 19]
    assert found(DataLoader(NoLength(), 4, sampler=[3, 40])) == [3, 40]
    with pytest.raises(DataError, match="yields row 20 of a data set of 20"):
        found(DataLoader(Numbers(), 4, sampler=[3, 20]))


def test_shuffling_that_drops_the_last_batch_leaves_all_rows_to_training() -> None:
    loader = DataLoader(Numbers(), 8, shuffle=True, drop_last=True)
    assert found(loader, scored=False) == list(range(20))
    assert len(set(found(loader) or ())) == 16
    in_order = DataLoader(Numbers(), 8, drop_last=True)
    assert found(in_order, scored=False) == found(in_order) == list(range(16))


def test_keys_that_are_no_rows_are_left_to_the_loader() -> None:
    sampler: Any = ByName()
    assert found(DataLoader(Numbers(), 4, sampler=sampler)) is None
    assert found(DataLoader(Numbers(), batch_size=None)) is None


def test_a_length_without_a_meaning_is_refused() -> None:
    for shuffle in (True, False):
        with pytest.raises(DataError, match="says that it has 10,000,000,000 images"):
            found(DataLoader(Numbers(10**10), 4, shuffle=shuffle))
    assert found(DataLoader(Numbers(10**10), 4, sampler=[10**9])) == [10**9]


def test_the_batch_size_is_the_loaders() -> None:
    assert batch_size_of(DataLoader(Numbers(), 12)) == 12
    batches: Any = BatchSampler(range(20), 7, drop_last=False)
    assert batch_size_of(DataLoader(Numbers(), batch_sampler=batches)) == 7
    assert batch_size_of(DataLoader(Numbers(), batch_sampler=[[1, 2, 3], [4]])) == 3
    for other in (DataLoader(Numbers(), batch_size=None), Numbers(), torch.zeros(3), "digits"):
        assert batch_size_of(other) is None
