"""Images and labels in a numpy archive (.npz)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import hookimpl
from pbkd.data import (
    Augmentation,
    Dataset,
    class_numbers,
    crop_and_flip,
    read_npz,
    split_from_arrays,
    split_validation,
    split_validation_and_test,
)
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from torch import Tensor

    from pbkd.data import ArraySplit, Split
    from pbkd.protocols import DataSource

    Arrays = Mapping[str, np.ndarray[Any, Any]]

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class NpzSource:
    """Arrays in one numpy archive, in the format of Keras' data sets.

    The archive holds `x_train` and `x_test`, (N, H, W) or (N, H, W, C), uint8, uint16 or floats,
    and `y_train` and `y_test`, integers (N,) or (N, 1) or one-hot rows. Nothing in the file is
    unpickled.

    With `labelled=false` only `x_train` is required; without `x_test`, test images are cut off
    it, with the same share as for validation.

    Attributes:
        path: The file.
        validation: Share of the training images held out for validation.
        train_limit: Use only the first `train_limit` training images (0 = all).
        labelled: Whether the archive has labels.
        crop: Pixels by which training images are shifted.
        flip: Mirror training images at random.
    """

    name: ClassVar[str] = "npz"
    path: str
    _: KW_ONLY
    validation: float = 0.1
    train_limit: int = 0
    labelled: bool = True
    crop: int = 0
    flip: bool = False

    def load(self) -> Dataset:
        """Read the file.

        Raises:
            DataError: The file is unreadable, or an array is missing or has a wrong type or shape.
        """
        required = ("x_train", "y_train", "x_test", "y_test") if self.labelled else ("x_train",)
        arrays = read_npz(self.path, required, () if self.labelled else ("x_test",))
        everything = self._split(arrays, "train")
        train, validation, test = self._splits(arrays, everything)
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            num_classes=_count_classes(everything, test) if self.labelled else None,
            image_shape=everything.image_shape,
            augmentation=Augmentation(crop_and_flip(self.crop, self.flip)),
        )

    def _splits(self, arrays: Arrays, everything: ArraySplit) -> tuple[Split, Split, Split]:
        if "x_test" not in arrays:
            return split_validation_and_test(everything, self.validation, self.train_limit)
        test = self._split(arrays, "test")
        if test.image_shape != everything.image_shape:
            raise DataError(
                f"the images of {self.path} are {everything.image_shape} in x_train but"
                f" {test.image_shape} in x_test (channels, height, width); they must be the same."
            )
        return (*split_validation(everything, self.validation, self.train_limit), test)

    def _split(self, arrays: Arrays, split: str) -> ArraySplit:
        images = arrays[f"x_{split}"]
        _check_images(self.path, f"x_{split}", images)
        if not self.labelled:
            return split_from_arrays(images, None)
        labels = _read_labels(self.path, split, arrays[f"y_{split}"], len(images))
        return split_from_arrays(images, labels)


def _check_images(path: str, name: str, images: np.ndarray[Any, Any]) -> None:
    if images.dtype.kind not in "biuf":
        raise DataError(
            f"{name} in {path} is {images.dtype}; store the pixels as uint8, 0 … 255, as uint16, or"
            " as floats, 0 … 1."
        )
    channels_first = images.ndim == 4 and images.shape[1] <= 4 < images.shape[3]
    if images.ndim not in (3, 4) or 0 in images.shape or channels_first:
        raise DataError(
            f"{name} in {path} has the shape {images.shape}; it must be (N, H, W) or"
            " (N, H, W, C), without an empty dimension."
        )


def _read_labels(path: str, split: str, labels: np.ndarray[Any, Any], count: int) -> Tensor:
    classes = class_numbers(labels, f"the labels y_{split} in {path}")
    if len(classes) != count:
        raise DataError(
            f"y_{split} in {path} has {len(classes)} labels; it must have one for each of the"
            f" {count} images of x_{split}."
        )
    return classes


def _count_classes(*splits: Split) -> int:
    return 1 + max(int(split.labels.max()) for split in splits)


@hookimpl
def register_data() -> list[type[DataSource]]:
    """Register the data `npz`."""
    return [NpzSource]
