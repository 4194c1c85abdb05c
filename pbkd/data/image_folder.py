"""Images as files, in a folder for each class or without labels; decoded when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd.data.datasets import Dataset, missing_labels
from pbkd.data.prefetch import read_with_processes, read_with_threads
from pbkd.data.splits import split_validation, split_validation_and_test
from pbkd.data.transforms import Augmentation, ImageDecoder
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pbkd.data.datasets import Batch, Split


__all__ = ["FolderSplit", "ImageFolderSource"]


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """Image files, decoded when asked for, by threads of this process or by `workers` processes."""

    paths: tuple[str, ...]
    labels: Tensor
    frame: ImageDecoder
    workers: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.paths)

    def __getitem__(self, key: tuple[int, int | None]) -> Tensor:
        """Return the image of a row, in part where a seed is given."""
        return self.read_one(*key)

    def read_one(self, row: int, seed: int | None = None) -> Tensor:
        """Decode one image; raises `DataError` naming a file that is corrupt."""
        return self.frame.read(self.paths[row], seed)

    def read(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """Yield the images of each batch, decoded ahead."""
        if self.workers:
            yield from read_with_processes(self, batches, self.workers, torch.stack, seeded=True)
        else:
            yield from read_with_threads(self.read_one, batches)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        (images,) = read_with_threads(self.read_one, [(indices, None)])
        return images

    def without_corrupt(self) -> tuple[FolderSplit, tuple[str, ...]]:
        """Decode every file once; return the split of those that can be, and the other paths."""
        checked = read_with_threads(self._sound, [(torch.arange(len(self)), None)])
        sound = next(checked) if len(self) else torch.zeros(0, dtype=torch.bool)
        kept = tuple(path for path, good in zip(self.paths, sound, strict=True) if good)
        corrupt = tuple(path for path, good in zip(self.paths, sound, strict=True) if not good)
        return replace(self, paths=kept, labels=self.labels[sound]), corrupt

    def _sound(self, row: int, _seed: int | None) -> Tensor:
        try:
            self.read_one(row)
        except DataError:
            return torch.tensor(False)
        return torch.tensor(True)


@dataclass(frozen=True)
class ImageFolderSource:
    """Image files in one folder per class, below train/, val/ and test/ in the folder `path`.

    Without test/, val/ is the test split, as in ImageNet; validation is then cut off train/, as it
    is where there is no val/. With both, val/ is the validation split.

    With `labelled=false` the files are unlabelled, in whatever folders below train/, val/ and
    test/, or below `path` itself; what is missing of validation and test is cut off train.

    `size`, `channels`, `crop_pct` and `interpolation` make images of the pictures, see
    `ImageDecoder`; those that are not given are the teacher's own, where it has them. With
    `area` below 1, training images are random parts of the pictures. `workers` processes decode,
    or, with 0, threads of the process that uses the images.

    A file that cannot be decoded ends the run (`corrupt` is `fail`), or is left out (`skip`), for
    which every file is decoded once before the start.
    """

    name: ClassVar[str] = "imagefolder"
    path: str
    size: int = 224
    channels: int = 3
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    labelled: bool = True
    validation: float = 0.1
    area: float = 1.0
    crop: int = 0
    flip: bool = False
    workers: int = 0
    corrupt: str = "fail"

    def load(self) -> Dataset:
        """List the files; they are decoded when asked for."""
        if self.corrupt not in ("fail", "skip"):
            raise DataError(f"data.corrupt is '{self.corrupt}', but must be fail or skip.")
        if self.workers < 0:
            raise DataError(f"data.workers is {self.workers}, but must be 0 or more.")
        frame = ImageDecoder(self.size, self.channels, self.crop_pct, self.interpolation, self.area)
        skipped: list[str] = []
        found = {
            name: self._listed(folder, frame, skipped)
            for name, folder in self._folders(Path(self.path).expanduser()).items()
        }
        classes = found["train"][1]
        for name, (_, named) in found.items():
            _check_same_classes(Path(self.path) / name, named, classes)
        train, validation, test = self._divided({name: split for name, (split, _) in found.items()})
        return Dataset(
            self.name,
            train,
            validation,
            test,
            len(classes) if self.labelled else None,
            (self.channels, self.size, self.size),
            Augmentation(self.crop, self.flip, self.area),
            tuple(skipped),
        )

    def _folders(self, root: Path) -> dict[str, Path]:
        there = {name: root / name for name in ("val", "test") if (root / name).is_dir()}
        if not self.labelled and not (root / "train").is_dir():
            return {"train": root}
        if self.labelled and not there and (root / "train").is_dir():
            raise DataError(f"'{root}' has neither val/ nor test/; add one of them to score on.")
        return {"train": root / "train", **there}

    def _divided(self, found: dict[str, Split]) -> tuple[Split, Split, Split]:
        everything = found["train"]
        test = found.get("test", found.get("val"))
        if test is None:
            return split_validation_and_test(everything, self.validation)
        if len(found) == 3:
            return everything, found["val"], test
        return (*split_validation(everything, self.validation), test)

    def _listed(
        self, folder: Path, frame: ImageDecoder, skipped: list[str]
    ) -> tuple[FolderSplit, list[str]]:
        paths, labels, classes = (
            _list_classes(folder) if self.labelled else _list_unlabelled(folder)
        )
        split = FolderSplit(paths, labels, frame, self.workers)
        if self.corrupt == "skip":
            split, corrupt = split.without_corrupt()
            skipped += corrupt
        return split, classes


def _list_classes(folder: Path) -> tuple[tuple[str, ...], Tensor, list[str]]:
    from torchvision.datasets import ImageFolder

    try:
        listed = ImageFolder(folder)
    except OSError as error:
        raise DataError(
            f"'{folder}' must hold one folder of images for each class ({error}); set data.path to"
            " the folder above it, or data.labelled=false for images without labels."
        ) from error
    paths = tuple(path for path, _ in listed.samples)
    return paths, torch.tensor(listed.targets), listed.classes


def _list_unlabelled(folder: Path) -> tuple[tuple[str, ...], Tensor, list[str]]:
    from torchvision.datasets.folder import is_image_file

    paths = tuple(sorted(str(path) for path in folder.rglob("*") if is_image_file(path.name)))
    if not paths:
        raise DataError(f"there are no images below '{folder}'; set data.path to their folder.")
    return paths, missing_labels(len(paths)), []


def _check_same_classes(folder: Path, found: list[str], classes: list[str]) -> None:
    different = sorted(set(found) ^ set(classes))
    if different:
        raise DataError(
            f"'{folder}' and train/ beside it must have the same class folders, but only one of"
            f" them has '{different[0]}'."
        )
