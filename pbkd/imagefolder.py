"""Images as files, one folder per class: listed at once, decoded when asked for."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd.data import Augmentation, Dataset
from pbkd.errors import DataError
from pbkd.holdout import hold_out

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.data import Split

__all__ = ["FolderSplit", "ImageFolderSource"]


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """Image files, decoded when asked for: RGB, shorter side resized to `size`, centre cropped."""

    decodes: ClassVar[bool] = True
    paths: tuple[str, ...]
    labels: Tensor
    size: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.paths)

    def images(self, indices: Tensor) -> Tensor:
        """Decode the images of these rows; raises `DataError` naming a file that is corrupt."""
        paths = [self.paths[index] for index in indices.tolist()]
        with _decoders() as pool:
            return torch.stack(list(pool.map(self._decode, paths)))

    def without_corrupt(self) -> tuple[FolderSplit, tuple[str, ...]]:
        """Decode every file once; return the split of those that can be, and the other paths."""
        with _decoders() as pool:
            sound = torch.tensor(list(pool.map(self._decodable, self.paths)), dtype=torch.bool)
        kept = tuple(path for path, good in zip(self.paths, sound, strict=True) if good)
        corrupt = tuple(path for path, good in zip(self.paths, sound, strict=True) if not good)
        return FolderSplit(kept, self.labels[sound], self.size), corrupt

    def _decodable(self, path: str) -> bool:
        try:
            self._decode(path)
        except DataError:
            return False
        return True

    def _decode(self, path: str) -> Tensor:
        from PIL import Image
        from torchvision.transforms.v2 import functional as transforms

        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except Exception as error:  # each of Pillow's decoders fails with types of its own
            raise DataError(
                f"the image {path} cannot be read ({error}); replace or remove it, or set"
                " data.corrupt=skip."
            ) from error
        image = transforms.resize(image, [self.size])
        pixels: Tensor = transforms.pil_to_tensor(transforms.center_crop(image, [self.size]))
        return pixels


@dataclass(frozen=True)
class ImageFolderSource:
    """Image files in one folder per class, below train/, val/ and test/ in the folder `path`.

    Without test/, val/ is the test split, as in ImageNet; validation is then cut off train/, as it
    is where there is no val/. With both, val/ is the validation split. Images become RGB with the
    shorter side resized to `size`, and a square of `size` pixels is cut from the centre.

    A file that cannot be decoded ends the run (`corrupt` is `fail`), or is left out (`skip`), for
    which every file is decoded once before the start.
    """

    name: ClassVar[str] = "imagefolder"
    path: str
    size: int = 224
    validation: float = 0.1
    crop: int = 0
    flip: bool = False
    corrupt: str = "fail"

    def load(self) -> Dataset:
        """List the files; they are decoded when asked for."""
        if self.size < 1:
            raise DataError(f"data.size is {self.size}, but must be at least 1 pixel.")
        if self.corrupt not in ("fail", "skip"):
            raise DataError(f"data.corrupt is '{self.corrupt}', but must be fail or skip.")
        root = Path(self.path).expanduser()
        skipped: list[str] = []
        everything, classes = self._listed(root / "train", skipped)
        scored: list[Split] = []
        for folder in (root / "val", root / "test"):
            if folder.is_dir():
                split, found = self._listed(folder, skipped)
                _check_same_classes(folder, found, classes)
                scored.append(split)
        if not scored:
            raise DataError(f"'{root}' has neither val/ nor test/; add one of them to score on.")
        test = scored.pop()
        train, validation = (
            (everything, scored.pop()) if scored else hold_out(everything, self.validation)
        )
        shape = (3, self.size, self.size)
        augment = Augmentation(self.crop, self.flip)
        return Dataset(
            self.name, train, validation, test, len(classes), shape, augment, tuple(skipped)
        )

    def _listed(self, folder: Path, skipped: list[str]) -> tuple[FolderSplit, list[str]]:
        split, classes = _list_folder(folder, self.size)
        if self.corrupt == "skip":
            split, corrupt = split.without_corrupt()
            skipped += corrupt
        return split, classes


def _decoders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))


def _list_folder(folder: Path, size: int) -> tuple[FolderSplit, list[str]]:
    from torchvision.datasets import ImageFolder

    try:
        listed = ImageFolder(folder)
    except OSError as error:
        raise DataError(
            f"'{folder}' must hold one folder of images for each class ({error}); set data.path to"
            " the folder above it."
        ) from error
    paths = tuple(path for path, _ in listed.samples)
    return FolderSplit(paths, torch.tensor(listed.targets), size), listed.classes


def _check_same_classes(folder: Path, found: list[str], classes: list[str]) -> None:
    different = sorted(set(found) ^ set(classes))
    if different:
        raise DataError(
            f"'{folder}' and train/ beside it must have the same class folders, but only one of"
            f" them has '{different[0]}'."
        )
