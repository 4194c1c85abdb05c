"""Images and labels: splits, data sets, augmentation, batches.

Images stay uint8 until they are on the device that uses them: a quarter of the memory and of the
traffic that floats would need. Floats are images that are normalised already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from pbkd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.data.transforms import Augmentation


__all__ = ["ArraySplit", "Batch", "Dataset", "Split", "missing_labels"]


class Split(Protocol):
    """Images, with labels if their data set has any, addressed by row.

    A split may also have `read(batches)`, which yields the images of each `Batch` and
    is ahead of their use.
    """

    @property
    def labels(self) -> Tensor:
        """The class of every row: int64, (len,)."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows: uint8, or floats, (B, C, H, W), on the CPU."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images held in memory: `pixels` is uint8 or float32 (N, C, H, W), `labels` int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Check types and shapes; raises `DataError`."""
        if self.pixels.dtype not in (torch.uint8, torch.float32) or self.pixels.ndim != 4:
            raise DataError(
                f"images must be uint8 or float32 (N, C, H, W), not {self.pixels.dtype}"
                f" {tuple(self.pixels.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise DataError(
                f"labels for {len(self.pixels)} images must be int64 ({len(self.pixels)},), not"
                f" {self.labels.dtype} {tuple(self.labels.shape)}."
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.pixels)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self.pixels.index_select(0, indices)


@dataclass(frozen=True)
class Dataset:
    """What a run trains, selects and scores on.

    Everything that is chosen is chosen on `validation`, which is cut off the training rows;
    `test` is the source's own test split and is only for the figures in the report. Images are
    `image_shape`, (C, H, W); labels are 0 … `num_classes` - 1, or, where that is None, all -1, for
    none. Raises `DataError` if not. `skipped` names files that could not be read and were left out.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int | None
    image_shape: tuple[int, int, int]
    augmentation: Augmentation
    skipped_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the labels, the sizes and that the crop fits the images."""
        if self.num_classes is not None and self.num_classes < 2:
            raise DataError(
                f"data set '{self.name}' has {self.num_classes} class; at least 2 are needed."
            )
        for split in ("train", "validation", "test"):
            self._check_split(split, getattr(self, split))
        smallest = min(self.image_shape[1:])
        if not 0 <= self.augmentation.crop < smallest:
            raise DataError(
                f"data.crop is {self.augmentation.crop}, but for images of {self.image_shape}"
                f" pixels it must be 0 … {smallest - 1}."
            )

    @property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        return self.num_classes is not None

    @property
    def score_name(self) -> str:
        """What a network's score on a split is."""
        return "accuracy" if self.labelled else "agreement with the teacher"

    def _check_split(self, name: str, split: Split) -> None:
        if not len(split):
            raise DataError(f"the {name} split of data set '{self.name}' is empty.")
        if self.num_classes is None:
            return
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= self.num_classes:
            raise DataError(
                f"the {name} labels of data set '{self.name}' run from {low} to {high}, but must"
                f" be 0 … {self.num_classes - 1}."
            )


def missing_labels(count: int) -> Tensor:
    """Return the labels of so many images that have none."""
    return torch.full((count,), -1)


Batch = tuple["Tensor", "Tensor | None"]
"""Rows, int64 (B,), and a seed for each, int64 (B,), where their pictures are cut at random."""
