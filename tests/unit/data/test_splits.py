"""Validation splits and limits."""

from __future__ import annotations

import pytest
import torch

from pbkd.data.datasets import ArraySplit, Split
from pbkd.data.splits import split_validation
from pbkd.errors import DataError
from tests.unit.data.reading import everything


def rows_of(count: int, labels: list[int] | None = None) -> ArraySplit:
    """A split whose pixels are the number of the row."""
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    shown = [(7 * row) % 5 for row in range(count)] if labels is None else labels
    return ArraySplit(pixels, torch.tensor(shown, dtype=torch.int64))


def row_numbers(split: Split) -> list[int]:
    return [int(row) for row in everything(split).flatten()]


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
