"""A fixed number of augmented views of every training image, so that activations can be cached."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.data.augmentation import Augmentation
from pbkd.data.prefetch import prefetch_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pbkd.data.datasets import Dataset, RowBatch, Split


__all__ = ["FixedViews", "with_fixed_views"]


class FixedViews:
    """A split of augmented views that are drawn once: view v of row r is row v * len(split) + r."""

    def __init__(self, split: Split, augmentation: Augmentation, count: int, seed: int) -> None:
        """Draw the views.

        Args:
            split: The images.
            augmentation: The random changes that make a view.
            count: Views per image.
            seed: The run's seed.
        """
        self.labels = split.labels.repeat(count)
        self._split = split
        self._augmentation = augmentation
        generator = torch.Generator().manual_seed(derive_seed(seed, "views", count))
        self._draws = augmentation.draw(len(self.labels), generator)
        self._crop_seed = derive_seed(seed, "parts", count)

    def __len__(self) -> int:
        """Return the number of views of all rows."""
        return len(self.labels)

    def images(self, indices: Tensor) -> Tensor:
        """Return these views."""
        (images,) = self.read([(indices, None)])
        return images

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the views of each batch, read ahead."""
        pending: deque[Tensor] = deque()

        def source_rows() -> Iterator[RowBatch]:
            for views, _ in batches:
                pending.append(views)
                crop_seeds = self._augmentation.crop_seeds(views, self._crop_seed)
                yield views % len(self._split), crop_seeds

        for images in prefetch_images(self._split, source_rows()):
            yield self._augmentation.apply(images, self._draws[:, pending.popleft()])


def with_fixed_views(data: Dataset, count: int, seed: int) -> Dataset:
    """Replace random augmentation by `count` fixed views of each training image (0 = leave as is).

    Args:
        data: The data set.
        count: Views per image.
        seed: The run's seed.

    Returns:
        A data set whose training split holds the views and is not augmented any further.
    """
    if count == 0:
        return data
    views = FixedViews(data.train, data.augmentation, count, seed)
    return replace(data, train=views, augmentation=Augmentation())
