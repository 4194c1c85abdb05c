"""Image files in folders, one per class or without labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pbkd.core.files import user_path
from pbkd.data.augmentation import Augmentation
from pbkd.data.datasets import Dataset
from pbkd.data.folder_layout import find_layout
from pbkd.data.folder_listing import list_splits
from pbkd.data.picture_split import PictureSplit
from pbkd.data.prefetch import read_with_threads
from pbkd.data.splits import limited, split_validation, split_validation_and_test
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from torch import Tensor

    from pbkd.data.datasets import Split
    from pbkd.data.folder_listing import Listing
    from pbkd.data.image_decoding import ImageDecoder


__all__ = ["Division", "read_image_folder"]


@dataclass(frozen=True)
class Division:
    """How the training images are divided.

    Attributes:
        validation: Share that is held out for a missing validation or test split.
        train_limit: How many images to use, of all classes alike (0 = all).
    """

    validation: float = 0.1
    train_limit: int = 0


_TENTH = Division()


def read_image_folder(
    path: str,
    decoder: ImageDecoder,
    *,
    labelled: bool = True,
    division: Division = _TENTH,
    workers: int = 0,
    skip_corrupt: bool = False,
) -> Dataset:
    """List the image files below a folder; their images are decoded on demand.

    Args:
        path: The folder, with `train`, `val` and `test` or some of them, or without splits; `~` is
            the user's home.
        decoder: Turns a file into a tensor.
        labelled: Whether the folders of a split are classes.
        division: What is held out for a missing validation or test split.
        workers: Processes that decode (0 = threads of the process that uses the images).
        skip_corrupt: Whether to decode every file once and leave out those that cannot be decoded.

    Raises:
        DataError: A folder is missing or empty, or classes differ.
    """
    layout = find_layout(user_path(path), labelled=labelled)
    listings = list_splits(layout.folders, labelled=labelled)
    folders: dict[str, Split] = {}
    skipped: list[str] = []
    for name, listing in listings.items():
        split = _split(listing, decoder, workers)
        folders[name], corrupt = _without_corrupt(split) if skip_corrupt else (split, ())
        skipped += corrupt
    train, val, test = _splits(folders, division)
    classes = listings["train"].classes
    listed = tuple(note for listing in listings.values() for note in listing.notes)
    return Dataset(
        name="imagefolder",
        train=train,
        validation=val,
        test=test,
        num_classes=len(classes) if labelled else None,
        image_shape=(decoder.channels, decoder.size, decoder.size),
        augmentation=Augmentation(area=decoder.area),
        skipped_files=_printable(skipped),
        class_names=_printable(classes) if labelled else None,
        decoder=decoder,
        notes=_printable((*layout.notes, *listed, *_held_out(folders, val, test))),
    )


def _split(listing: Listing, decoder: ImageDecoder, workers: int) -> PictureSplit:
    paths = tuple(path for path, _ in listing.files)
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    return PictureSplit(paths, labels, decoder, workers)


def _without_corrupt(split: PictureSplit) -> tuple[PictureSplit, list[str]]:
    """Decode every file once; return the split of those that can be, and the others' paths."""

    def is_readable(row: int, _seed: int | None) -> Tensor:
        try:
            split.read_one(row)
        except DataError:
            return torch.tensor(False)
        return torch.tensor(True)

    checks = read_with_threads(is_readable, [(torch.arange(len(split)), None)])
    readable = next(checks) if len(split) else torch.zeros(0, dtype=torch.bool)
    rows = list(zip(split.pictures, readable.tolist(), strict=True))
    kept = tuple(path for path, ok in rows if ok)
    corrupt = [str(path) for path, ok in rows if not ok]
    return replace(split, pictures=kept, labels=split.labels[readable]), corrupt


def _splits(folders: Mapping[str, Split], division: Division) -> tuple[Split, Split, Split]:
    train, share, limit = folders["train"], division.validation, division.train_limit
    test = folders.get("test", folders.get("val"))
    if test is None:
        return split_validation_and_test(train, share, limit)
    if len(folders) == 3:
        return limited(train, limit), folders["val"], test
    return (*split_validation(train, share, limit), test)


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
