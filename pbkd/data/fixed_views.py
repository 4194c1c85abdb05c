"""A fixed number of augmented views of every training image, so that activations can be cached."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.data.prefetch import prefetch_images
from pbkd.data.transforms import Augmentation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pbkd.data.datasets import Batch, Dataset, Split


__all__ = ["FixedViews", "with_fixed_views"]


class FixedViews:
    """`count` augmented views of each row, drawn once: view v of row r is v * len + r."""

    def __init__(self, split: Split, augmentation: Augmentation, count: int, seed: int) -> None:
        """Draw the views of `split`."""
        self.labels = split.labels.repeat(count)
        self._split = split
        self._augmentation = augmentation
        generator = torch.Generator().manual_seed(derive_seed(seed, "views", count))
        self._draws = augmentation.draw(len(self.labels), generator)
        self._seeds = derive_seed(seed, "parts", count)

    def __len__(self) -> int:
        """Return the number of views of all rows."""
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Return these views."""
        (images,) = self.read([(indices, None)])
        return images

    def read(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Yield these views of each batch, read ahead."""
        views: deque[Tensor] = deque()

        def rows() -> Iterator[Batch]:
            for indices, _ in batches:
                views.append(indices)
                seeds = self._augmentation.seeds(indices, self._seeds)
                yield indices % len(self._split), seeds

        for images in prefetch_images(self._split, rows()):
            yield self._augmentation.apply(images, self._draws[:, views.popleft()])


def with_fixed_views(data: Dataset, count: int, seed: int) -> Dataset:
    """Return the data with so many fixed views for new random ones; 0 leaves it as it is."""
    if count == 0:
        return data
    views = FixedViews(data.train, data.augmentation, count, seed)
    return replace(data, train=views, augmentation=Augmentation())
