"""Images and labels: splits, data sets, augmentation, batches.

Images stay uint8 until they are on the device that uses them: a quarter of the memory and of the
traffic that floats would need. Floats are images that are normalised already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from pbkd.errors import DataError
from pbkd.reading import read_ahead
from pbkd.seed import derive_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from pbkd.augmentation import Augmentation
    from pbkd.reading import Batch

__all__ = [
    "ArraySplit",
    "Dataset",
    "Rows",
    "Split",
    "batches",
    "in_order",
    "no_labels",
    "normalise",
    "row_batches",
    "steps_per_epoch",
]


class Split(Protocol):
    """Images, with labels if their data set has any, addressed by row.

    A split may also have `read(batches)`, which yields the images of each `pbkd.reading.Batch` and
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


class Rows:
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
        return read_ahead(self._split, ((self._rows[rows], seeds) for rows, seeds in batches))


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
    augment: Augmentation
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the labels, the sizes and that the crop fits the images."""
        if self.num_classes is not None and self.num_classes < 2:
            raise DataError(
                f"data set '{self.name}' has {self.num_classes} class; at least 2 are needed."
            )
        for split in ("train", "validation", "test"):
            self._check_split(split, getattr(self, split))
        smallest = min(self.image_shape[1:])
        if not 0 <= self.augment.crop < smallest:
            raise DataError(
                f"data.crop is {self.augment.crop}, but for images of {self.image_shape} pixels it"
                f" must be 0 … {smallest - 1}."
            )

    @property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        return self.num_classes is not None

    @property
    def score(self) -> str:
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


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return how many batches `batches` yields: full ones only, but at least one."""
    if batch_size < 1:
        raise DataError(f"the batch size is {batch_size}, but must be at least 1.")
    return max(1, len(split) // batch_size)


def batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    augmentation: Augmentation,
    phase: str = "train",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of shuffled, augmented images, uint8 (B, C, H, W), and labels, int64 (B,).

    The order depends only on (seed, phase, epoch), the augmentation of a batch only on (seed,
    phase, epoch, step), and a random part of a picture only on (seed, phase, epoch, row). Batches
    are full, rows left over wait for another epoch's order; a split smaller than `batch_size` is
    one batch.
    """
    order = list(row_batches(split, batch_size, seed=seed, epoch=epoch, phase=phase))
    parts = derive_seed(seed, phase, epoch, "parts")
    wanted = ((rows, augmentation.seeds(rows, parts)) for rows in order)
    for step, images in enumerate(read_ahead(split, wanted)):
        generator = _generator(seed, phase, epoch, "augmentation", step)
        yield augmentation.augment(images, generator), split.labels[order[step]]


def row_batches(
    split: Split, batch_size: int, *, seed: int, epoch: int, phase: str
) -> Iterator[Tensor]:
    """Yield the rows, int64 (B,), of each batch of one epoch, in the order of `batches`."""
    order = torch.randperm(len(split), generator=_generator(seed, phase, epoch, "order"))
    for step in range(steps_per_epoch(split, batch_size)):
        yield order[step * batch_size : (step + 1) * batch_size]


def in_order(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, unchanged and in order, with its label; the last batch may be small.

    Images are uint8, or floats, (B, C, H, W), labels int64 (B,).
    """
    order = torch.split(torch.arange(len(split)), batch_size)
    for rows, images in zip(order, read_ahead(split, ((r, None) for r in order)), strict=True):
        yield images, split.labels[rows]


def no_labels(count: int) -> Tensor:
    """Return the labels of so many images that have none."""
    return torch.full((count,), -1)


def normalise(
    images: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device | str
) -> Tensor:
    """Return uint8 `images`, (B, C, H, W), as (images / 255 - mean) / std on `device`.

    The result is float32 and channels-last. `mean` and `std` have one value per channel. Floats are
    normalised already and stay as they are.
    """
    if not len(mean) == len(std) == images.shape[1]:
        raise DataError(
            f"the images have {images.shape[1]} channels, but mean and std have {len(mean)} and"
            f" {len(std)} values."
        )
    pixels = images.to(device, non_blocking=True)
    pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
    if images.is_floating_point():
        return pixels
    return pixels.div_(255).sub_(_per_channel(mean, device)).div_(_per_channel(std, device))


def _per_channel(values: Sequence[float], device: torch.device | str) -> Tensor:
    column = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    return column.to(device, non_blocking=True)


def _generator(seed: int, *parts: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, *parts))
