"""Validation rows, cut off the training rows by a rule that never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pbkd.data.prefetch import prefetch_images
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pbkd.data.datasets import Batch, Split


__all__ = ["Subset", "fixed_permutation", "split_validation", "split_validation_and_test"]


def split_validation(train: Split, share: float, limit: int = 0) -> tuple[Split, Split]:
    """Cut the training rows into (train, validation), by a rule that depends on no seed.

    Validation is the last `share` of the first `limit` rows (0: of all rows). Rows that are sorted
    by label, as those of an image folder are, are first put into one fixed random order, without
    which the cut would take whole classes away.
    """
    if not 0 < share < 1:
        raise DataError(f"data.validation is {share}, but must lie between 0 and 1.")
    if limit < 0:
        raise DataError(f"data.train_limit is {limit}, but must be 0 (all rows) or more.")
    rows = torch.arange(len(train))
    if bool((train.labels.diff() >= 0).all()):
        rows = fixed_permutation(len(train))
    rows = rows[: limit or None]
    kept = len(rows) - round(len(rows) * share)
    if not 0 < kept < len(rows):
        raise DataError(
            f"data.validation={share} of {len(rows)} training images leaves none on one side; use"
            " more images or another share."
        )
    return Subset(train, rows[:kept]), Subset(train, rows[kept:])


def split_validation_and_test(
    train: Split, share: float, limit: int = 0
) -> tuple[Split, Split, Split]:
    """Cut rows into (train, validation, test), the last two of the same share each."""
    rest, test = split_validation(train, share, limit)
    kept, validation = split_validation(rest, share)
    return kept, validation, test


def fixed_permutation(count: int) -> Tensor:
    """Return the rows 0 … count - 1, int64, in one random order that never changes."""
    # RandomState's stream is frozen, so this order is the same in every version of numpy.
    return torch.from_numpy(np.random.RandomState(0).permutation(count)).to(torch.int64)


class Subset:
    """Some rows of another split, in the order given; shares its images."""

    def __init__(self, split: Split, rows: Tensor) -> None:
        """Take `rows`, int64 (len,), of `split`."""
        self.labels = split.labels[rows]
        self._split = split
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self._split.images(self._rows[indices])

    def read(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Yield the images of each batch."""
        return prefetch_images(self._split, ((self._rows[rows], seeds) for rows, seeds in batches))
