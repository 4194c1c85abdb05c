"""Tensors, torch data sets and loaders of a Python program, as the splits of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.options import MEMORY
from pbkd.data.augmentation import Augmentation
from pbkd.data.checked_split import pixel_range
from pbkd.data.datasets import Dataset
from pbkd.data.pixel_values import check_channels_first
from pbkd.data.shared_rows import without_shared
from pbkd.data.splits import Subset, held_out_rows
from pbkd.data.torch_sources import read_source
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pbkd.data.datasets import Split
    from pbkd.data.shared_rows import SourceRows


__all__ = ["dataset_from_torch"]


def dataset_from_torch(train: Any, validation: Any, test: Any, share: float = 0.1) -> Dataset:
    """Make a data set of the images that a program has in memory or reads with torch.

    Each split is a torch `DataLoader` or another iterable of batches, a map-style data set, a
    tensor of images, or a pair of images and labels; see `read_source` for the rows of a loader.
    Either all images have labels, counted from 0, or none has.

    Training images that are validation or test images as well are not trained on. Images that a
    loader repeats are held out with all their repetitions.

    Args:
        train: The training images.
        validation: The validation images; None to hold them out from `train`.
        test: The test images; None to hold them out from `train`.
        share: Share of the images held out for each missing split.

    Raises:
        DataError: A split cannot be read, or the splits do not fit each other.
    """
    if any(each is train for each in (validation, test)):
        raise DataError(
            "the training images are given for validation or test as well: give other images, or"
            " none to hold out a tenth of the training images."
        )
    training = read_source(train, "training", scored=False)
    held = {
        name: read_source(source, name, scored=True)
        for name, source in (("validation", validation), ("test", test))
        if source is not None
    }
    training, notes = without_shared(training, held)
    missing = [name for name in ("test", "validation") if name not in held]
    by_name = {"training": training.split, **{name: rows.split for name, rows in held.items()}}
    if missing:
        parts, remarks = _hold_out(training, missing, share)
        by_name |= {name: Subset(training.split, rows) for name, rows in parts.items()}
        notes += remarks
    splits = by_name["training"], by_name["validation"], by_name["test"]
    return Dataset(
        name=MEMORY,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        num_classes=_num_classes(splits),
        image_shape=_image_shape(splits),
        augmentation=Augmentation(external=True),
        class_names=_class_names(train),
        pixel_range=pixel_range(by_name),
        notes=(*training.notes, *(note for rows in held.values() for note in rows.notes), *notes),
    )


def _hold_out(
    training: SourceRows, names: Sequence[str], share: float
) -> tuple[dict[str, Tensor], list[str]]:
    """Cut rows for these splits off the training rows.

    Returns:
        The rows of each split, and of "training"; and notes.
    """
    labels, keys = training.split.labels, training.keys
    try:
        return _cut(labels, keys, names, share), []
    except DataError:
        if training.reach is None or len(torch.unique(keys)) == len(keys):
            raise
    note = "The training images repeat, so images that are held out have copies among them."
    return _cut(labels, torch.arange(len(keys)), names, share), [note]


def _cut(labels: Tensor, keys: Tensor, names: Sequence[str], share: float) -> dict[str, Tensor]:
    """Return rows as `_hold_out` does; rows with the same key are in the same split."""
    rows = _first_rows(keys)
    repeated = len(rows) < len(keys)
    parts = {}
    for name in names:
        kept, held_out = held_out_rows(labels[rows], share)
        rows, parts[name] = rows[kept], rows[held_out]
    parts["training"] = rows
    if not repeated:
        return parts
    return {name: torch.isin(keys, keys[part]).nonzero()[:, 0] for name, part in parts.items()}


def _first_rows(keys: Tensor) -> Tensor:
    """Return the first row of every key, in ascending order."""
    distinct, positions = torch.unique(keys, return_inverse=True)
    if len(distinct) == len(keys):
        return torch.arange(len(keys))
    first = torch.full((len(distinct),), len(keys))
    first.scatter_reduce_(0, positions, torch.arange(len(keys)), "amin")
    return first.sort().values


def _class_names(source: Any) -> tuple[str, ...] | None:
    """Return the attribute `classes` of a data set, or of the one that a loader or subset has."""
    names = getattr(source, "classes", None)
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return tuple(names)
    inner = getattr(source, "dataset", None)
    return None if inner is None else _class_names(inner)


def _num_classes(splits: Sequence[Split]) -> int | None:
    """Return the largest label plus one, or None if no split has labels."""
    labelled = {bool((split.labels >= 0).any()) for split in splits}
    if len(labelled) > 1:
        raise DataError(
            "some of the images have labels and others have none: give all or no labels."
        )
    if labelled == {True}:
        return 1 + max(int(split.labels.max()) for split in splits)
    lowest = min(int(split.labels.min()) for split in splits)
    if lowest < -1:
        raise DataError(
            f"labels are {lowest}, but must be counted from 0, or -1 if there are none."
        )
    return None


def _image_shape(splits: Sequence[Split]) -> tuple[int, int, int]:
    first = torch.zeros(1, dtype=torch.int64)
    shapes = sorted({tuple(split.images(first).shape[1:]) for split in splits})
    if len(shapes) > 1 or len(shapes[0]) != 3:
        raise DataError(
            f"images must be (channels, height, width), all the same, but are {shapes}."
        )
    check_channels_first(shapes[0])
    channels, height, width = shapes[0]
    return channels, height, width
