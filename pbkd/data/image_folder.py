"""Image files in folders, one per class or without labels, that are decoded on demand."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd.core.files import user_path
from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import Dataset
from pbkd.data.folder_layout import find_layout
from pbkd.data.folder_listing import list_splits
from pbkd.data.image_decoding import ImageDecoder
from pbkd.data.prefetch import read_with_processes, read_with_threads
from pbkd.data.splits import split_validation, split_validation_and_test
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from torch import Tensor

    from pbkd.data.datasets import RowBatch, Split
    from pbkd.data.folder_listing import Listing


__all__ = ["FolderSplit", "ImageFolderSource"]


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """A split of image files that are decoded on demand.

    Attributes:
        paths: The files.
        labels: Their classes, int64 (len,).
        decoder: Turns a file into a tensor.
        workers: Processes that decode (0 = threads of this process).
    """

    paths: tuple[str, ...]
    labels: Tensor
    decoder: ImageDecoder
    workers: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.paths)

    def __getitem__(self, key: tuple[int, int | None]) -> Tensor:
        """Return the image of a (row, seed), as the processes of a `DataLoader` ask for it."""
        return self.read_one(*key)

    def read_one(self, row: int, seed: int | None = None) -> Tensor:
        """Decode one image, uint8 (C, H, W).

        Args:
            row: The row number.
            seed: Seed of a random resized crop; None for the centre crop.

        Raises:
            DataError: The file cannot be decoded.
        """
        return self.decoder.read(self.paths[row], seed)

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
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
        """Decode every file once.

        Returns:
            The split of the files that can be decoded, and the paths of the other files.
        """
        checks = read_with_threads(self._is_readable, [(torch.arange(len(self)), None)])
        readable = next(checks) if len(self) else torch.zeros(0, dtype=torch.bool)
        kept = tuple(path for path, ok in zip(self.paths, readable, strict=True) if ok)
        corrupt = tuple(path for path, ok in zip(self.paths, readable, strict=True) if not ok)
        return replace(self, paths=kept, labels=self.labels[readable]), corrupt

    def _is_readable(self, row: int, _seed: int | None) -> Tensor:
        try:
            self.read_one(row)
        except DataError:
            return torch.tensor(False)
        return torch.tensor(True)


@dataclass(frozen=True)
class ImageFolderSource:
    """Image files in one folder per class, below train/, val/ and test/ in the folder `path`.

    Without test/, val/ is the test split, as in ImageNet, and validation images are cut off
    train/; so they are if there is no val/. With both, val/ is the validation split. Without
    either, or with the class folders in `path` itself, both are cut off the training images.
    valid/ and validation/ mean val/; see `pbkd.data.folder_layout`.

    With `labelled=false` the files have no labels and are anywhere below train/, val/ and test/,
    or below `path` itself; missing validation and test splits are cut off the training images.

    Attributes:
        path: The folder.
        size: Height and width of the images, in pixels; see `ImageDecoder`. The teacher's own
            preprocessing is used for `size`, `channels`, `crop_pct` and `interpolation` if they
            are not set.
        channels: 1 (grey) or 3 (RGB).
        crop_pct: Share of the shorter side that the centre crop covers.
        interpolation: Resampling filter.
        labelled: Whether folders are classes.
        validation: Share of the training images held out for validation.
        area: Smallest share of a training picture that its random resized crop covers (1 = off).
        crop: Pixels by which training images are shifted, see `Augmentation`.
        flip: Mirror training images at random.
        workers: Processes that decode (0 = threads of the process that uses the images).
        corrupt: `fail` ends the run at a file that cannot be decoded; `skip` decodes every file
            once before the run and leaves such files out.
    """

    name: ClassVar[str] = "imagefolder"
    path: str
    _: KW_ONLY
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
        """List the files; their images are decoded on demand.

        Raises:
            DataError: An option is out of range, a folder is missing, or classes differ.
        """
        if self.corrupt not in ("fail", "skip"):
            raise DataError(f"data.corrupt is '{self.corrupt}', but must be fail or skip.")
        if self.workers < 0:
            raise DataError(f"data.workers is {self.workers}, but must be 0 or more.")
        layout = find_layout(user_path(self.path), labelled=self.labelled)
        listings = list_splits(layout.folders, labelled=self.labelled)
        decoder = ImageDecoder(
            self.size, self.channels, self.crop_pct, self.interpolation, self.area
        )
        folders = {name: self._split(listing, decoder) for name, listing in listings.items()}
        train, validation, test = self._splits(
            {name: split for name, (split, _) in folders.items()}
        )
        classes = listings["train"].classes
        listed = tuple(note for listing in listings.values() for note in listing.notes)
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            num_classes=len(classes) if self.labelled else None,
            image_shape=(self.channels, self.size, self.size),
            augmentation=Augmentation(self.crop, self.flip, self.area),
            skipped_files=_printable(path for _, corrupt in folders.values() for path in corrupt),
            class_names=_printable(classes) if self.labelled else None,
            decoder=decoder,
            notes=_printable((*layout.notes, *listed, *_held_out(folders, validation, test))),
        )

    def _split(
        self, listing: Listing, decoder: ImageDecoder
    ) -> tuple[FolderSplit, tuple[str, ...]]:
        """Make a split of listed files; return the corrupt ones that it leaves out, too."""
        paths = tuple(path for path, _ in listing.files)
        labels = torch.tensor(listing.labels, dtype=torch.int64)
        split = FolderSplit(paths, labels, decoder, self.workers)
        return split.without_corrupt() if self.corrupt == "skip" else (split, ())

    def _splits(self, folders: Mapping[str, Split]) -> tuple[Split, Split, Split]:
        train = folders["train"]
        test = folders.get("test", folders.get("val"))
        if test is None:
            return split_validation_and_test(train, self.validation)
        if len(folders) == 3:
            return train, folders["val"], test
        return (*split_validation(train, self.validation), test)


def _printable(texts: Iterable[str]) -> tuple[str, ...]:
    """Replace the bytes of names that are not UTF-8, which no report could hold."""
    return tuple(text.encode(errors="replace").decode() for text in texts)


def _held_out(folders: Container[str], validation: Split, test: Split) -> list[str]:
    """Note the test images that are cut off the training images, if they are."""
    if "test" in folders or "val" in folders:
        return []
    return [
        f"There is no folder of test pictures, so {len(test)} of the pictures are held out for"
        f" testing and {len(validation)} for validation; the teacher may have been trained on them."
    ]
