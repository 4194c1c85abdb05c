"""Data sets: images with labels, in a training, a validation and a test split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from pbkd.data.augmentation import Augmentation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.data.image_decoding import ImageDecoder
    from pbkd.data.pixel_values import PixelRange


__all__ = ["ArraySplit", "Dataset", "RowBatch", "Split", "check_labels", "missing_labels"]

RowBatch = tuple["Tensor", "Tensor | None"]
"""Row numbers of a batch, int64 (B,), and the seed of each row's random resized crop, int64 (B,),
or None for centre crops."""


class Split(Protocol):
    """Images, and their labels if there are any, addressed by row number.

    A split that can prefetch has a method `read(batches)` as well: it yields the images of each
    `RowBatch` and reads ahead of their use.
    """

    @property
    def labels(self) -> Tensor:
        """The class of every row, int64 (len,); -1 if the images have no labels."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows.

        Args:
            indices: Row numbers, int64 (B,).

        Returns:
            Images on the CPU, (B, C, H, W): uint8, or float32 as given.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """A split that is held in memory.

    Attributes:
        pixels: Images, uint8 or float32, (N, C, H, W).
        labels: Classes, int64 (N,).
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Raise `DataError` for a wrong type or shape."""
        if self.pixels.dtype not in (torch.uint8, torch.float32) or self.pixels.ndim != 4:
            cure = ": give grey images as images[:, None]" if self.pixels.ndim == 3 else ""
            raise DataError(
                f"images must be uint8 or float32 (N, C, H, W), not {self.pixels.dtype}"
                f" {tuple(self.pixels.shape)}{cure}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise DataError(
                f"labels for {len(self.pixels)} images must be int64 ({len(self.pixels)},), not"
                f" {self.labels.dtype} {tuple(self.labels.shape)}."
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.pixels)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self.pixels.index_select(0, indices)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The images that a run trains, selects and scores on.

    Every decision of a run is made on `validation`. `test` is used for the reported figures only.

    Attributes:
        name: Name of the data source.
        train: Training split.
        validation: Validation split, disjoint from `train`.
        test: Test split.
        num_classes: Labels are 0 … `num_classes` - 1; None if the images have no labels.
        image_shape: (channels, height, width) of every image.
        augmentation: Random changes to the training images: what `augmentation=source` stands for.
        skipped_files: Paths of image files that cannot be decoded and were left out.
        class_names: The name of every class; None if they are unknown.
        pixel_range: The range of float images, if it was measured already.
        decoder: What decodes the image files; None if the images are arrays.
        notes: Remarks for the user on how the data was taken, a sentence each.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int | None
    image_shape: tuple[int, int, int]
    augmentation: Augmentation = field(default_factory=Augmentation)
    skipped_files: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    pixel_range: PixelRange | None = None
    decoder: ImageDecoder | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `DataError` for wrong labels or an empty split."""
        self._check_facts()
        for split in ("train", "validation", "test"):
            self._check_split(split, getattr(self, split))

    @property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        return self.num_classes is not None

    @property
    def score_name(self) -> str:
        """The name of the score that networks get on these images."""
        return "accuracy" if self.labelled else "agreement with the teacher"

    def _check_facts(self) -> None:
        shape, classes = self.image_shape, self.num_classes
        is_shape = isinstance(shape, (tuple, list)) and len(shape) == 3
        if not is_shape or not all(type(length) is int and length > 0 for length in shape):
            raise DataError(
                f"the image_shape of data set '{self.name}' is {shape!r}, but must be (channels,"
                " height, width)."
            )
        if classes is not None and (type(classes) is not int or classes < 1):
            raise DataError(
                f"the num_classes of data set '{self.name}' is {classes!r}, but must be a number of"
                " classes, or None for images without labels."
            )

    def _check_split(self, name: str, split: Split) -> None:
        if not len(split):
            raise DataError(f"the {name} split of data set '{self.name}' is empty.")
        if self.num_classes is None:
            return
        check_labels(split, name, self.name)
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= self.num_classes:
            raise DataError(
                f"the {name} labels of data set '{self.name}' run from {low} to {high}, but must"
                f" be 0 … {self.num_classes - 1}: count classes from 0, and leave out images of no"
                " class."
            )


def check_labels(split: Split, name: str, data: str) -> None:
    """Raise `DataError` unless a split has labels of the right type, one for each image.

    Args:
        split: The split.
        name: Its name, such as "train".
        data: The name of the data set.
    """
    labels = split.labels
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64:
        kind = labels.dtype if isinstance(labels, torch.Tensor) else type(labels).__name__
        raise DataError(
            f"the {name} labels of data set '{data}' are {kind}, but must be a tensor of int64."
        )
    if tuple(labels.shape) != (len(split),):
        raise DataError(
            f"the {name} labels of data set '{data}' are {tuple(labels.shape)}, but must"
            f" be ({len(split)},), one for each image."
        )


def missing_labels(count: int) -> Tensor:
    """Make placeholder labels for images without labels.

    Args:
        count: Number of images.

    Returns:
        Labels of -1, int64 (count,).
    """
    return torch.full((count,), -1)
