"""Images in a numpy archive (.npz)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from pbkd.core.archives import expansion_of
from pbkd.core.files import open_regular, user_path
from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import ArraySplit, Dataset, missing_labels
from pbkd.data.labels import class_numbers
from pbkd.data.pixel_values import to_pixels
from pbkd.data.splits import split_validation, split_validation_and_test
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from pbkd.data.datasets import Split

    Arrays = Mapping[str, np.ndarray[Any, Any]]


__all__ = ["NpzSource", "split_from_arrays"]


def split_from_arrays(images: Any, labels: Any) -> ArraySplit:
    """Make a split of numpy arrays.

    Args:
        images: Images, (N, H, W) or (N, H, W, C), of a type that `to_pixels` takes.
        labels: Labels, see `class_numbers`; None if there are none.
    """
    pixels = np.asarray(images)
    pixels = pixels[..., np.newaxis] if pixels.ndim == 3 else pixels
    native = pixels.dtype.newbyteorder("=") if pixels.dtype != np.longdouble else np.float64
    pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=native)
    tensor = to_pixels(torch.from_numpy(pixels))
    return ArraySplit(
        tensor, missing_labels(len(tensor)) if labels is None else class_numbers(labels)
    )


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
        crop: Pixels by which training images are shifted, see `Augmentation`.
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
        arrays = _read_npz(self.path, required, () if self.labelled else ("x_test",))
        everything = self._split(arrays, "train")
        train, validation, test = self._splits(arrays, everything)
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            num_classes=_count_classes(everything, test) if self.labelled else None,
            image_shape=everything.image_shape,
            augmentation=Augmentation(self.crop, self.flip),
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


def _read_npz(
    path: str, required: Sequence[str], optional: Sequence[str]
) -> dict[str, np.ndarray[Any, Any]]:
    file = user_path(path)
    if not file.is_file():
        raise DataError(f"there is no file '{path}'; set data.path to an .npz file.")
    try:
        with open_regular(file) as content, np.load(content, allow_pickle=False) as arrays:
            missing = set(required) - set(arrays.files)
            if missing:
                raise DataError(f"{path} has no {', '.join(sorted(missing))}; add the arrays.")
            keys = [*required, *(key for key in optional if key in arrays.files)]
            if expansion := expansion_of(arrays.zip):
                raise ValueError(expansion)
            found = {key: arrays[key] for key in keys}
            if not all(isinstance(array, np.ndarray) for array in found.values()):
                raise ValueError("a member is no array")
            return found
    except DataError:
        raise
    except Exception as error:  # zip, its compressions and numpy fail with types of their own
        raise DataError(f"{path} is not a readable .npz file of plain arrays ({error}).") from error


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
