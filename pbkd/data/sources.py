"""Where images come from: one frozen dataclass per source, whose fields are its options.

`data=npz data.path=FILE` sets the field `path` of the source named `npz`. Options that mean the
same everywhere: `validation`, the share of the training rows kept back for model selection;
`train_limit`, use only the first so many training rows (0: all), for a quick try; `crop` and
`flip`, see `pbkd.data.transforms.Augmentation`.

torchvision and scikit-learn take seconds to import and are imported by the sources that use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from torch.nn import functional

from pbkd.data.datasets import ArraySplit, Dataset
from pbkd.data.image_folder import ImageFolderSource
from pbkd.data.npz import NpzSource, array_split, image_shape
from pbkd.data.splits import Subset, fixed_permutation, split_validation
from pbkd.data.transforms import Augmentation
from pbkd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


__all__ = [
    "SOURCES",
    "Cifar10Source",
    "Cifar100Source",
    "DigitsSource",
    "FashionMnistSource",
    "Source",
    "SyntheticSource",
]


class Source(Protocol):
    """A data set that can be asked for by name."""

    name: ClassVar[str]

    def load(self) -> Dataset:
        """Return the data set; raises `DataError` where it is missing or not what it should be."""
        ...


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
        everything = array_split(np.rint(digits.images * 255 / 16).astype(np.uint8), digits.target)
        train, validation, test = (
            Subset(everything, rows)
            for rows in torch.split(fixed_permutation(len(everything)), [1077, 360, 360])
        )
        augment = Augmentation(self.crop, self.flip)
        return Dataset(self.name, train, validation, test, 10, image_shape(everything), augment)


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
    train, validation = split_validation(everything, source.validation, source.train_limit)
    return Dataset(
        source.name,
        train,
        validation,
        test,
        num_classes,
        image_shape(everything),
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
    return array_split(stored.data, stored.targets)


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
        train, validation = split_validation(
            self._draw(self.count, patterns, generator), self.validation
        )
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
