"""What a source of data returned, as a data set whose images are checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pbkd.data.augmentation import Augmentation
from pbkd.data.checked_split import is_in_memory
from pbkd.data.datasets import ArraySplit, Dataset, check_labels
from pbkd.data.guarded_split import GuardedSplit
from pbkd.data.picture_split import PictureSplit
from pbkd.data.splits import Subset
from pbkd.data.torch_data import dataset_from_torch
from pbkd.errors import DataError

__all__ = ["adopt_data"]

_SPLITS = ("train", "validation", "test")
_FORMS = "a pbkd.data.Dataset, what pbkd.compress takes as data, or a mapping of these for train,"
_FORMS += " validation and test"


def adopt_data(returned: Any, name: str, origin: str) -> Dataset:
    """Make a data set of what a source returned.

    Args:
        returned: A `Dataset`; or what `pbkd.compress` takes as `data`: images, pairs of images and
            labels, torch data sets or loaders; or a mapping with these for `train`, and for
            `validation` and `test`, which are else cut off `train`.
        name: The name of the source.
        origin: What returned it, for error messages.

    Raises:
        DataError: It is none of these, or invalid.
    """
    if isinstance(returned, Dataset):
        splits: dict[str, Any] = {}
        for key in _SPLITS:
            check_labels(getattr(returned, key), key, returned.name)
            splits[key] = _guarded(getattr(returned, key), returned, origin)
        return replace(returned, **splits)
    if returned is None:
        raise DataError(f"{origin} returned nothing: return {_FORMS}.")
    given = dict(returned) if isinstance(returned, Mapping) else {"train": returned}
    if unknown := sorted(map(str, given.keys() - {*_SPLITS})):
        raise DataError(f"{origin} returned a mapping with '{unknown[0]}': return {_FORMS}.")
    if given.get("train") is None:
        raise DataError(f"{origin} returned no training images: return {_FORMS}.")
    try:
        data = dataset_from_torch(given["train"], given.get("validation"), given.get("test"))
    except DataError as error:
        raise DataError(f"what {origin} returned cannot be used: {error}") from error
    varying = not all(is_in_memory(getattr(data, key)) for key in _SPLITS)
    return replace(data, name=name, augmentation=Augmentation(external=varying))


def _guarded(split: Any, data: Dataset, origin: str) -> Any:
    """Check the images of a split that is not pbkd's own whenever they are read."""
    inner = split
    while isinstance(inner, Subset):
        inner = inner.source
    if isinstance(inner, (ArraySplit, PictureSplit)):
        return split
    return GuardedSplit(split, data.image_shape, origin)
