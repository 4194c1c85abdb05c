"""Images in a file of numpy's arrays."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from pbkd.data.datasets import ArraySplit, Dataset, missing_labels
from pbkd.data.splits import split_validation, split_validation_and_test
from pbkd.data.transforms import Augmentation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.data.datasets import Split


__all__ = ["NpzSource", "array_split", "image_shape"]


def array_split(images: Any, labels: Any) -> ArraySplit:
    """Convert images, (N, H, W) or (N, H, W, C) uint8, and labels, (N,) or (N, 1), or None."""
    pixels = np.asarray(images)
    pixels = pixels[..., np.newaxis] if pixels.ndim == 3 else pixels
    pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if labels is None:
        return ArraySplit(torch.from_numpy(pixels), missing_labels(len(pixels)))
    flat = np.asarray(labels).astype(np.int64).reshape(-1)
    return ArraySplit(torch.from_numpy(pixels), torch.from_numpy(flat))


def image_shape(split: ArraySplit) -> tuple[int, int, int]:
    """Return (channels, height, width)."""
    channels, height, width = split.pixels.shape[1:]
    return channels, height, width


@dataclass(frozen=True)
class NpzSource:
    """Arrays in one numpy file.

    The file at `path` holds `x_train` and `x_test`, uint8 (N, H, W) or (N, H, W, C), and `y_train`
    and `y_test`, integers (N,) or (N, 1); this is how Keras stores its data sets. There are as
    many classes as the largest training label says. Nothing in the file is unpickled.

    With `labelled=false` it needs but `x_train`; without `x_test`, test images are cut off that,
    as many as for validation.
    """

    name: ClassVar[str] = "npz"
    path: str
    validation: float = 0.1
    train_limit: int = 0
    labelled: bool = True
    crop: int = 0
    flip: bool = False

    def load(self) -> Dataset:
        """Read the file; raises `DataError` for whatever is wrong with it."""
        needed = ("x_train", "y_train", "x_test", "y_test") if self.labelled else ("x_train",)
        arrays = _read_npz(self.path, needed, () if self.labelled else ("x_test",))
        everything = self._split(arrays, "train")
        shape = image_shape(everything)
        if "x_test" in arrays:
            test: Split = self._scored(arrays, shape)
            train, validation = split_validation(everything, self.validation, self.train_limit)
        else:
            train, validation, test = split_validation_and_test(
                everything, self.validation, self.train_limit
            )
        classes = int(everything.labels.max()) + 1 if self.labelled else None
        augment = Augmentation(self.crop, self.flip)
        return Dataset(self.name, train, validation, test, classes, shape, augment)

    def _split(self, arrays: Mapping[str, np.ndarray[Any, Any]], which: str) -> ArraySplit:
        images = arrays[f"x_{which}"]
        _check_images(self.path, f"x_{which}", images)
        labels = arrays[f"y_{which}"] if self.labelled else None
        if labels is not None:
            _check_labels(self.path, which, labels, len(images))
        return array_split(images, labels)

    def _scored(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], shape: tuple[int, int, int]
    ) -> ArraySplit:
        test = self._split(arrays, "test")
        if image_shape(test) != shape:
            raise DataError(
                f"the images of {self.path} are {shape} in x_train but {image_shape(test)} in"
                " x_test (channels, height, width); they must be the same."
            )
        return test


def _read_npz(
    path: str, needed: Sequence[str], optional: Sequence[str]
) -> dict[str, np.ndarray[Any, Any]]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file '{path}'; set data.path to an .npz file.")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            missing = set(needed) - set(arrays.files)
            if missing:
                raise DataError(f"{path} has no {', '.join(sorted(missing))}; add the arrays.")
            wanted = [*needed, *(key for key in optional if key in arrays.files)]
            return {key: arrays[key] for key in wanted}
    except (
        AttributeError,  # a single array, .npy, has no files
        EOFError,
        OSError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(f"{path} is not a readable .npz file of plain arrays ({error}).") from error


def _check_images(path: str, name: str, images: np.ndarray[Any, Any]) -> None:
    if images.dtype != np.uint8:
        raise DataError(f"{name} in {path} is {images.dtype}; store the pixels as uint8, 0 … 255.")
    channels_first = images.ndim == 4 and images.shape[1] <= 4 < images.shape[3]
    if images.ndim not in (3, 4) or 0 in images.shape or channels_first:
        raise DataError(
            f"{name} in {path} has the shape {images.shape}; it must be (N, H, W) or"
            " (N, H, W, C), with nothing empty."
        )


def _check_labels(path: str, which: str, labels: np.ndarray[Any, Any], count: int) -> None:
    if labels.dtype.kind not in "iu" or labels.shape not in [(count,), (count, 1)]:
        raise DataError(
            f"y_{which} in {path} is {labels.dtype} {labels.shape}; it must be one integer for each"
            f" of the {count} images of x_{which}."
        )
