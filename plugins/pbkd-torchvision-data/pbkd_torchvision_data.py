"""Data sets of torchvision: CIFAR-10, CIFAR-100 and Fashion-MNIST."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.data import (
    Augmentation,
    Dataset,
    crop_and_flip,
    split_from_arrays,
    split_validation,
)
from pbkd.errors import DataError

if TYPE_CHECKING:
    from pbkd.data import ArraySplit
    from pbkd.protocols import DataSource

PBKD_CONTRACT = 2


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
            augmentation=Augmentation(crop_and_flip(self.crop, self.flip)),
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


@hookimpl
def register_data() -> list[type[DataSource]]:
    """Register the data `cifar10`, `cifar100` and `fashion-mnist`."""
    return [Cifar10Source, Cifar100Source, FashionMnistSource]
