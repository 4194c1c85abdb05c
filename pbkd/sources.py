"""Where images come from: one frozen dataclass per source, whose fields are its options.

`data=npz data.path=FILE` sets the field `path` of the source named `npz`. Options that mean the
same everywhere: `validation`, the share of the training rows kept back for model selection;
`train_limit`, use only the first so many training rows (0: all), for a quick try; `crop` and
`flip`, see `pbkd.data.Augmentation`.

torchvision and scikit-learn take seconds to import and are imported by the sources that use them.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch.nn import functional

from pbkd.data import ArraySplit, Augmentation, Dataset, Rows
from pbkd.errors import DataError
from pbkd.holdout import fixed_order, hold_out
from pbkd.imagefolder import ImageFolderSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = [
    "SOURCES",
    "Cifar10Source",
    "Cifar100Source",
    "DigitsSource",
    "FashionMnistSource",
    "NpzSource",
    "Source",
    "SyntheticSource",
]


class Source(Protocol):
    """A data set that can be asked for by name."""

    name: ClassVar[str]

    def load(self) -> Dataset:
        """Return the data set; raises `DataError` where it is missing or not what it should be."""
        ...


def _array_split(images: Any, labels: Any) -> ArraySplit:
    """Convert images, (N, H, W) or (N, H, W, C) uint8, and labels, (N,) or (N, 1)."""
    pixels = np.asarray(images)
    pixels = pixels[..., np.newaxis] if pixels.ndim == 3 else pixels
    pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    flat = np.asarray(labels).astype(np.int64).reshape(-1)
    return ArraySplit(torch.from_numpy(pixels), torch.from_numpy(flat))


def _image_shape(split: ArraySplit) -> tuple[int, int, int]:
    channels, height, width = split.pixels.shape[1:]
    return channels, height, width


@dataclass(frozen=True)
class DigitsSource:
    """1,797 real handwritten digits, 8x8 grey, that come with scikit-learn.

    UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), its test set; the
    0 … 16 of a pixel are scaled to 0 … 255. Split 1,077 / 360 / 360 after one fixed shuffle, so
    all three have digits by the same writers.
    """

    name: ClassVar[str] = "digits"
    crop: int = 1
    flip: bool = False

    def load(self) -> Dataset:
        """Return the data set; needs no file and no network."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        everything = _array_split(np.rint(digits.images * 255 / 16).astype(np.uint8), digits.target)
        train, validation, test = (
            Rows(everything, rows)
            for rows in torch.split(fixed_order(len(everything)), [1077, 360, 360])
        )
        augment = Augmentation(self.crop, self.flip)
        return Dataset(self.name, train, validation, test, 10, _image_shape(everything), augment)


@dataclass(frozen=True)
class NpzSource:
    """Arrays in one numpy file.

    The file at `path` holds `x_train` and `x_test`, uint8 (N, H, W) or (N, H, W, C), and `y_train`
    and `y_test`, integers (N,) or (N, 1); this is how Keras stores its data sets. There are as
    many classes as the largest training label says. Nothing in the file is unpickled.
    """

    name: ClassVar[str] = "npz"
    path: str
    validation: float = 0.1
    train_limit: int = 0
    crop: int = 0
    flip: bool = False

    def load(self) -> Dataset:
        """Read the file; raises `DataError` for whatever is wrong with it."""
        arrays = _read_npz(self.path)
        everything = _npz_split(self.path, arrays, "train")
        test = _npz_split(self.path, arrays, "test")
        shape = _image_shape(everything)
        if _image_shape(test) != shape:
            raise DataError(
                f"the images of {self.path} are {shape} in x_train but {_image_shape(test)} in"
                " x_test (channels, height, width); they must be the same."
            )
        num_classes = int(everything.labels.max()) + 1
        train, validation = hold_out(everything, self.validation, self.train_limit)
        augment = Augmentation(self.crop, self.flip)
        return Dataset(self.name, train, validation, test, num_classes, shape, augment)


def _read_npz(path: str) -> dict[str, np.ndarray[Any, Any]]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file '{path}'; set data.path to an .npz file.")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            missing = {"x_train", "y_train", "x_test", "y_test"} - set(arrays.files)
            if missing:
                raise DataError(f"{path} has no {', '.join(sorted(missing))}; add the arrays.")
            return {key: arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")}
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


def _npz_split(path: str, arrays: Mapping[str, np.ndarray[Any, Any]], which: str) -> ArraySplit:
    images, labels = arrays[f"x_{which}"], arrays[f"y_{which}"]
    if images.dtype != np.uint8:
        raise DataError(
            f"x_{which} in {path} is {images.dtype}; store the pixels as uint8, 0 … 255."
        )
    channels_first = images.ndim == 4 and images.shape[1] <= 4 < images.shape[3]
    if images.ndim not in (3, 4) or 0 in images.shape or channels_first:
        raise DataError(
            f"x_{which} in {path} has the shape {images.shape}; it must be (N, H, W) or"
            " (N, H, W, C), with nothing empty."
        )
    if labels.dtype.kind not in "iu" or labels.shape not in [(len(images),), (len(images), 1)]:
        raise DataError(
            f"y_{which} in {path} is {labels.dtype} {labels.shape}; it must be one integer for each"
            f" of the {len(images)} images of x_{which}."
        )
    return _array_split(images, labels)


@dataclass(frozen=True)
class Cifar10Source:
    """CIFAR-10 (Krizhevsky 2009), as torchvision stores it in the folder `path`."""

    name: ClassVar[str] = "cifar10"
    path: str = "data"
    download: bool = False
    validation: float = 0.1
    train_limit: int = 0
    crop: int = 4
    flip: bool = True

    def load(self) -> Dataset:
        """Read the files, after fetching them if `download` is set."""
        return _torchvision_dataset(self, "CIFAR10", 10)


@dataclass(frozen=True)
class Cifar100Source:
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine labels, as torchvision stores it in `path`."""

    name: ClassVar[str] = "cifar100"
    path: str = "data"
    download: bool = False
    validation: float = 0.1
    train_limit: int = 0
    crop: int = 4
    flip: bool = True

    def load(self) -> Dataset:
        """Read the files, after fetching them if `download` is set."""
        return _torchvision_dataset(self, "CIFAR100", 100)


@dataclass(frozen=True)
class FashionMnistSource:
    """Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), as torchvision stores it in `path`."""

    name: ClassVar[str] = "fashion-mnist"
    path: str = "data"
    download: bool = False
    validation: float = 0.1
    train_limit: int = 0
    crop: int = 2
    flip: bool = True

    def load(self) -> Dataset:
        """Read the files, after fetching them if `download` is set."""
        return _torchvision_dataset(self, "FashionMNIST", 10)


_TorchvisionSource = Cifar10Source | Cifar100Source | FashionMnistSource


def _torchvision_dataset(source: _TorchvisionSource, kind: str, num_classes: int) -> Dataset:
    everything = _torchvision_split(source, kind, train=True)
    test = _torchvision_split(source, kind, train=False)
    train, validation = hold_out(everything, source.validation, source.train_limit)
    return Dataset(
        source.name,
        train,
        validation,
        test,
        num_classes,
        _image_shape(everything),
        Augmentation(source.crop, source.flip),
    )


def _torchvision_split(source: _TorchvisionSource, kind: str, *, train: bool) -> ArraySplit:
    from torchvision import datasets

    read = getattr(datasets, kind)
    try:
        stored = read(source.path, train=train, download=source.download)
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).split(". ")[0] or type(error).__name__
        raise DataError(
            f"{kind} cannot be read from the folder '{source.path}' ({reason}); set data.path to"
            " where torchvision keeps it, or data.download=true to fetch it."
        ) from error
    return _array_split(stored.data, stored.targets)


@dataclass(frozen=True)
class SyntheticSource:
    """Made-up images, always the same: a coarse pattern for each class under as much noise.

    `count` images are for training and validation, a quarter of that number more for the test.
    """

    name: ClassVar[str] = "synthetic"
    classes: int = 10
    channels: int = 3
    height: int = 32
    width: int = 32
    count: int = 512
    validation: float = 0.1
    crop: int = 0
    flip: bool = False

    def load(self) -> Dataset:
        """Draw the images; needs no file and no network."""
        for option in ("classes", "channels", "height", "width", "count"):
            if getattr(self, option) < 1:
                raise DataError(f"data.{option} is {getattr(self, option)}, but must be positive.")
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(self.classes, self.channels, 4, 4, generator=generator) * 128
        patterns = functional.interpolate(coarse, (self.height, self.width)).to(torch.uint8)
        train, validation = hold_out(self._draw(self.count, patterns, generator), self.validation)
        test = self._draw(self.count // 4, patterns, generator)
        shape = (self.channels, self.height, self.width)
        augment = Augmentation(self.crop, self.flip)
        return Dataset(self.name, train, validation, test, self.classes, shape, augment)

    def _draw(self, count: int, patterns: Tensor, generator: torch.Generator) -> ArraySplit:
        labels = torch.arange(count) % self.classes
        shape = (count, *patterns.shape[1:])
        noise = torch.randint(128, shape, dtype=torch.uint8, generator=generator)
        return ArraySplit(noise.add_(patterns[labels]), labels)


_SOURCES: tuple[type[Source], ...] = (
    DigitsSource,
    NpzSource,
    Cifar10Source,
    Cifar100Source,
    FashionMnistSource,
    ImageFolderSource,
    SyntheticSource,
)

SOURCES: dict[str, type[Source]] = {source.name: source for source in _SOURCES}
"""Every source by the name that `data=NAME` picks it by."""
