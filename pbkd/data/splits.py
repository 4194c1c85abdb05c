"""Subsets of a split, and the validation and test images that are cut off the training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pbkd.data.prefetch import prefetch_images
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pbkd.data.datasets import RowBatch, Split


__all__ = [
    "Subset",
    "fixed_permutation",
    "held_out_rows",
    "limited",
    "split_validation",
    "split_validation_and_test",
]


class Subset:
    """Selected `rows` of another split, its `source`, whose images it shares."""

    def __init__(self, split: Split, rows: Tensor) -> None:
        """Select rows.

        Args:
            split: The split to select from.
            rows: Row numbers of `split`, int64 (len,), in the order of this subset.
        """
        self.labels = split.labels[rows]
        self.source = split
        self.rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self.source.images(self.rows[indices])

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch."""
        return prefetch_images(self.source, ((self.rows[rows], seeds) for rows, seeds in batches))


def split_validation(train: Split, share: float, limit: int = 0) -> tuple[Split, Split]:
    """Split the training rows into training and validation rows, independently of any seed.

    Validation gets the last rows. Rows that are sorted by label, such as an image folder's, are
    shuffled first by a fixed permutation: otherwise validation would get whole classes.

    Args:
        train: The rows to split.
        share: Share of the validation rows, between 0 and 1.
        limit: Use only the first `limit` rows (0 = all).

    Returns:
        The training and the validation subset.

    Raises:
        DataError: `share` or `limit` is out of range, or one of the subsets would be empty.
    """
    kept, held_out = held_out_rows(train.labels, share, limit)
    return Subset(train, kept), Subset(train, held_out)


def held_out_rows(labels: Tensor, share: float, limit: int = 0) -> tuple[Tensor, Tensor]:
    """Return the rows of the two subsets that `split_validation` makes.

    Args:
        labels: The class of every row, int64 (N,).
        share: Share of the validation rows, between 0 and 1.
        limit: Use only the first `limit` rows (0 = all).

    Raises:
        DataError: As in `split_validation`.
    """
    if not 0 < share < 1:
        raise DataError(f"data.validation is {share}, but must lie between 0 and 1.")
    rows = _first_rows(labels, limit)
    kept = len(rows) - round(len(rows) * share)
    if not 0 < kept < len(rows):
        raise DataError(
            f"data.validation={share} of {len(rows)} training images leaves one of the two splits"
            " empty; use more images or another share."
        )
    return rows[:kept], rows[kept:]


def limited(train: Split, limit: int) -> Split:
    """Return the first `limit` rows, of all classes alike if they are sorted by label.

    Args:
        train: The rows.
        limit: How many rows to use (0 = all).

    Raises:
        DataError: `limit` is negative.
    """
    return Subset(train, _first_rows(train.labels, limit)) if limit else train


def _first_rows(labels: Tensor, limit: int) -> Tensor:
    if limit < 0:
        raise DataError(f"data.train_limit is {limit}, but must be 0 (all rows) or more.")
    rows = torch.arange(len(labels))
    if bool((labels.diff() >= 0).all()):
        rows = fixed_permutation(len(labels))
    return rows[: limit or None]


def split_validation_and_test(
    train: Split, share: float, limit: int = 0
) -> tuple[Split, Split, Split]:
    """Split rows into training, validation and test rows.

    Args:
        train: The rows to split.
        share: Share of the test rows, and share of the validation rows in the rest; between 0
            and 1.
        limit: Use only the first `limit` rows (0 = all).

    Returns:
        The training, validation and test rows.

    Raises:
        DataError: As in `split_validation`.
    """
    rest, test = split_validation(train, share, limit)
    kept, validation = split_validation(rest, share)
    return kept, validation, test


def fixed_permutation(count: int) -> Tensor:
    """Draw a permutation that is the same on every machine.

    Args:
        count: Number of elements.

    Returns:
        A permutation of 0 … `count` - 1, int64 (count,).
    """
    # numpy guarantees the stream of RandomState for all versions.
    return torch.from_numpy(np.random.RandomState(0).permutation(count)).to(torch.int64)
