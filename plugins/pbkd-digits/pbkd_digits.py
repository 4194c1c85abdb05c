"""Handwritten digits, which come with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from pbkd import hookimpl
from pbkd.data import (
    Augmentation,
    Dataset,
    Subset,
    crop_and_flip,
    fixed_permutation,
    split_from_arrays,
)

if TYPE_CHECKING:
    from pbkd.protocols import DataSource

PBKD_CONTRACT = 2


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
            augmentation=Augmentation(crop_and_flip(self.crop, self.flip)),
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


@hookimpl
def register_data() -> list[type[DataSource]]:
    """Register the data `digits`."""
    return [DigitsSource]
