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
    """A split of augmented views that are drawn once: view v of row r is row v * len(split) + r.

    A view is the same in every batch. If the augmentation mixes images, it is mixed with another
    view, which is drawn once, too.
    """

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
        self._seed = derive_seed(seed, "views", count)
        generator, views = torch.Generator().manual_seed(self._seed), len(self.labels)
        self._draws = augmentation.draw(views, generator)
        self._partners = None
        if augmentation.mixes:
            self._partners = torch.randint(views, (views,), generator=generator)
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
                needed = views
                if self._partners is not None:
                    needed = torch.cat([views, self._partners[views]])
                crop_seeds = self._augmentation.crop_seeds(needed, self._crop_seed)
                yield needed % len(self._split), crop_seeds

        for images in prefetch_images(self._split, source_rows()):
            yield self._augmented(pending.popleft(), images)

    def _augmented(self, views: Tensor, images: Tensor) -> Tensor:
        """Augment the images of some views, which those of their partners follow."""
        if self._draws is not None:
            return self._augmentation.apply(images, self._draws[:, views])
        if self._augmentation.strategy is None:
            return images
        count, partners = len(views), self._partners
        parts = []
        for position, view in enumerate(views):
            generator = torch.Generator().manual_seed((self._seed + int(view)) % 2**63)
            positions, rows = torch.tensor([position]), view.view(1)
            if partners is not None:
                positions = torch.tensor([position, count + position])
                rows = torch.stack([view, partners[view]])
            pair, labels = images[positions], self.labels[rows]
            augmented, _ = self._augmentation.augment(pair, labels, generator)
            parts.append(augmented[:1])
        return torch.cat(parts)


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
    return replace(
        data, train=views, augmentation=Augmentation(external=data.augmentation.external)
    )
