"""A fixed number of augmented views of every training image, so that activations can be cached."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.data import Augmentation
from pbkd.seed import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.data import Dataset, Split

__all__ = ["Views", "with_views"]


class Views:
    """`count` augmented views of each row, drawn once: view v of row r is v * len + r."""

    def __init__(self, split: Split, augmentation: Augmentation, count: int, seed: int) -> None:
        """Draw the views of `split`."""
        self.labels = split.labels.repeat(count)
        self._split = split
        self._augmentation = augmentation
        generator = torch.Generator().manual_seed(derive_seed(seed, "views", count))
        self._draws = augmentation.draw(len(self.labels), generator)

    def __len__(self) -> int:
        """Return the number of views of all rows."""
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Return these views."""
        images = self._split.images(indices % len(self._split))
        return self._augmentation.apply(images, self._draws[:, indices])


def with_views(data: Dataset, count: int, seed: int) -> Dataset:
    """Return the data with so many fixed views for new random ones; 0 leaves it as it is."""
    if count == 0:
        return data
    views = Views(data.train, data.augment, count, seed)
    return replace(data, train=views, augment=Augmentation())
