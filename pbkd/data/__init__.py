"""Images and labels: splits, batches, files. These names are the interface for data plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.data.arrays import split_from_arrays
    from pbkd.data.augmentation import Augmentation, crop_and_flip
    from pbkd.data.datasets import ArraySplit, Dataset, RowBatch, Split, missing_labels
    from pbkd.data.image_decoding import ImageDecoder
    from pbkd.data.image_folder import Division, read_image_folder
    from pbkd.data.labels import class_numbers
    from pbkd.data.npz import read_npz
    from pbkd.data.picture_split import PictureSplit
    from pbkd.data.splits import (
        Subset,
        fixed_permutation,
        split_validation,
        split_validation_and_test,
    )

__all__ = [
    "ArraySplit",
    "Augmentation",
    "Dataset",
    "Division",
    "ImageDecoder",
    "PictureSplit",
    "RowBatch",
    "Split",
    "Subset",
    "class_numbers",
    "crop_and_flip",
    "fixed_permutation",
    "missing_labels",
    "read_image_folder",
    "read_npz",
    "split_from_arrays",
    "split_validation",
    "split_validation_and_test",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "ArraySplit": "pbkd.data.datasets",
        "Augmentation": "pbkd.data.augmentation",
        "Dataset": "pbkd.data.datasets",
        "Division": "pbkd.data.image_folder",
        "ImageDecoder": "pbkd.data.image_decoding",
        "PictureSplit": "pbkd.data.picture_split",
        "RowBatch": "pbkd.data.datasets",
        "Split": "pbkd.data.datasets",
        "Subset": "pbkd.data.splits",
        "class_numbers": "pbkd.data.labels",
        "crop_and_flip": "pbkd.data.augmentation",
        "fixed_permutation": "pbkd.data.splits",
        "missing_labels": "pbkd.data.datasets",
        "read_image_folder": "pbkd.data.image_folder",
        "read_npz": "pbkd.data.npz",
        "split_from_arrays": "pbkd.data.arrays",
        "split_validation": "pbkd.data.splits",
        "split_validation_and_test": "pbkd.data.splits",
    },
)
