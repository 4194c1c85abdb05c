"""Data sources by name: one frozen dataclass each, whose fields are its options.

`data=npz data.path=FILE` sets the field `path` of the source named `npz`. Options that mean the
same for every source:

- `validation`: share of the training images held out for validation;
- `train_limit`: use only the first `train_limit` training images, for a quick try (0 = all);
- `crop`, `flip`: see `pbkd.data.augmentation.Augmentation`.

torchvision and scikit-learn take seconds to import: the first is imported by the sources that use
it, of the second only a file is read.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch.nn import functional

from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import ArraySplit, Dataset
from pbkd.data.image_folder import ImageFolderSource
from pbkd.data.npz import NpzSource, split_from_arrays
from pbkd.data.splits import Subset, fixed_permutation, split_validation
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
    """A data set that a configuration can name."""

    name: ClassVar[str]

    def load(self) -> Dataset:
        """Load the data set.

        Raises:
            DataError: It is missing or invalid.
        """
        ...


@dataclass(frozen=True)
class DigitsSource:
    """1,797 handwritten digits, 8x8 grey, that come with scikit-learn.

    They are the test set of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak
    1998), with pixels scaled from 0 … 16 to 0 … 255. A fixed permutation splits them into 1,077
    training, 360 validation and 360 test images, so all three have digits of the same writers.
    """

    name: ClassVar[str] = "digits"
    crop: int = 1
    flip: bool = False

    def load(self) -> Dataset:
        """Return the data set; needs neither a file nor the network."""
        images, labels = _digits()
        pixels = np.rint(images * 255 / 16).astype(np.uint8)
        everything = split_from_arrays(pixels, labels)
        train, validation, test = (
            Subset(everything, rows)
            for rows in torch.split(fixed_permutation(len(everything)), [1077, 360, 360])
        )
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            num_classes=10,
            image_shape=everything.image_shape,
            augmentation=Augmentation(self.crop, self.flip),
            class_names=tuple("0123456789"),
        )


def _digits() -> tuple[Any, Any]:
    """Read images and labels from the file of scikit-learn, whose import takes a second."""
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


@dataclass(frozen=True)
class _TorchvisionSource:
    """A data set of torchvision, as it is stored in the folder `path`."""

    name: ClassVar[str]
    torchvision_name: ClassVar[str]
    num_classes: ClassVar[int]
    path: str = "data"
    _: KW_ONLY
    download: bool = False
    validation: float = 0.1
    train_limit: int = 0
    crop: int = 4
    flip: bool = True

    def load(self) -> Dataset:
        """Read the files, after downloading them if `download` is set.

        Raises:
            DataError: The files are missing or damaged.
        """
        everything, class_names = self._read(train=True)
        test, _ = self._read(train=False)
        train, validation = split_validation(everything, self.validation, self.train_limit)
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            num_classes=self.num_classes,
            image_shape=everything.image_shape,
            augmentation=Augmentation(self.crop, self.flip),
            class_names=class_names,
        )

    def _read(self, *, train: bool) -> tuple[ArraySplit, tuple[str, ...]]:
        from torchvision import datasets

        read = getattr(datasets, self.torchvision_name)
        try:
            stored = read(self.path, train=train, download=self.download)
        except (AssertionError, OSError, RuntimeError, ValueError) as error:
            reason = str(error).split(". ")[0] or type(error).__name__
            raise DataError(
                f"{self.torchvision_name} cannot be read from the folder '{self.path}' ({reason});"
                " set data.path to where torchvision keeps it, or data.download=true to fetch it."
            ) from error
        return split_from_arrays(stored.data, stored.targets), tuple(stored.classes)


@dataclass(frozen=True, kw_only=True)
class Cifar10Source(_TorchvisionSource):
    """CIFAR-10 (Krizhevsky 2009), as torchvision stores it in the folder `path`."""

    name: ClassVar[str] = "cifar10"
    torchvision_name: ClassVar[str] = "CIFAR10"
    num_classes: ClassVar[int] = 10


@dataclass(frozen=True, kw_only=True)
class Cifar100Source(_TorchvisionSource):
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine labels, as torchvision stores it in `path`."""

    name: ClassVar[str] = "cifar100"
    torchvision_name: ClassVar[str] = "CIFAR100"
    num_classes: ClassVar[int] = 100


@dataclass(frozen=True, kw_only=True)
class FashionMnistSource(_TorchvisionSource):
    """Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), as torchvision stores it in `path`."""

    name: ClassVar[str] = "fashion-mnist"
    torchvision_name: ClassVar[str] = "FashionMNIST"
    num_classes: ClassVar[int] = 10
    crop: int = 2


@dataclass(frozen=True, kw_only=True)
class SyntheticSource:
    """Synthetic images, the same on every machine: a coarse pattern for each class, plus noise.

    Attributes:
        classes: Number of classes.
        channels: Channels of an image.
        height: Height of an image, in pixels.
        width: Width of an image, in pixels.
        count: Training and validation images together; there are `count` // 4 test images.
        validation: Share of these images held out for validation.
        crop: Pixels by which training images are shifted, see `Augmentation`.
        flip: Mirror training images at random.
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
        """Draw the images; needs neither a file nor the network."""
        for option in ("classes", "channels", "height", "width", "count"):
            if getattr(self, option) < 1:
                raise DataError(f"data.{option} is {getattr(self, option)}, but must be positive.")
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(self.classes, self.channels, 4, 4, generator=generator) * 128
        patterns = functional.interpolate(coarse, (self.height, self.width)).to(torch.uint8)
        everything = self._draw(self.count, patterns, generator)
        train, validation = split_validation(everything, self.validation)
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=self._draw(self.count // 4, patterns, generator),
            num_classes=self.classes,
            image_shape=everything.image_shape,
            augmentation=Augmentation(self.crop, self.flip),
        )

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
