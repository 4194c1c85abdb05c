"""Images and labels of a loader that has no random access, read into memory in its own order."""

from __future__ import annotations

import os
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset

from pbkd.data.loader_rows import length_of
from pbkd.data.random_state import kept_random_state
from pbkd.data.torch_batches import describe, guarded, parse_item_or_batch
from pbkd.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    Batch = tuple[Tensor, Tensor | None]

__all__ = ["LoadedImages", "read_loader"]

MAX_BYTES_OF_STREAM = 2 * 10**9
MAX_IMAGES_OF_STREAM = 250_000
"""Limits for a loader without a length, which may have no end."""
_PASSES = 4  # times its length, after which a loader is taken as endless


class LoadedImages(NamedTuple):
    """What a pass over a loader gave.

    Attributes:
        images: Images (N, C, H, W), on the CPU.
        labels: Classes, int64 (N,), or None.
        endless: Whether the loader goes on beyond its length, at which reading stopped.
    """

    images: Tensor
    labels: Tensor | None
    endless: bool


def read_loader(loader: Any) -> LoadedImages:
    """Read a pass over a loader.

    Reading goes on to the end. A loader that has a length but no end is read up to its length.

    Args:
        loader: Any iterable of batches, or of single images with labels.

    Raises:
        DataError: The loader fails or gives no batches, or it has too many images for the memory
            or, without a length, no end.
    """
    length = length_of(loader)
    with guarded(loader), kept_random_state(loader), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Length of IterableDataset")  # a batch more is tried
        batches, endless = _read(loader, length)
    if not batches:
        raise DataError(f"the {describe(loader)} gives no batches.")
    labels = [classes for _, classes in batches if classes is not None]
    if labels and len(labels) < len(batches):
        raise DataError(f"some batches of the {describe(loader)} have labels, others none.")
    shapes = sorted({tuple(images.shape[1:]) for images, _ in batches})
    if len(shapes) > 1:
        raise DataError(
            f"the images of the {describe(loader)} have the shapes {shapes}, but must all be"
            " the same."
        )
    images = torch.cat([images for images, _ in batches])
    return LoadedImages(images, torch.cat(labels) if labels else None, endless)


def _read(loader: Any, length: int | None) -> tuple[list[Batch], bool]:
    """Return the batches of a pass, and whether there are more."""
    given = iter(loader)
    batches: list[Batch] = []
    count = size = 0
    for batch in given if length is None else islice(given, _longest(loader, length)):
        images, labels = parse_item_or_batch(batch)
        batches.append((images, labels))
        count, size = count + len(images), size + images.nbytes
        if length is None:
            _check_end(loader, count, size)
        else:
            _check_memory(loader, max(size, images.nbytes * length if len(batches) == 1 else 0))
    if length is None or len(batches) < _longest(loader, length):
        return batches, False
    return batches[:length], True


def _longest(loader: Any, length: int) -> int:
    """Return the number of batches after which a loader of this length is taken as endless."""
    if type(loader) is DataLoader and isinstance(loader.dataset, IterableDataset):
        return length * max(1, loader.num_workers) + 1  # each worker has an incomplete batch
    return _PASSES * length + 1


def _check_end(loader: Any, count: int, size: int) -> None:
    if count > MAX_IMAGES_OF_STREAM or size > MAX_BYTES_OF_STREAM:
        raise DataError(
            f"the {describe(loader)} has no length and gives more than {count - 1:,} images"
            f" ({size / 1e9:.1f} GB) without an end: give its data set a __len__, the number of"
            " images to take."
        )


def _check_memory(loader: Any, size: int) -> None:
    limit = _memory() // 4
    if size > limit:
        raise DataError(
            f"the images of the {describe(loader)} take {size / 1e9:.1f} GB, but can only be"
            f" read in its own order, into at most {limit / 1e9:.1f} GB of memory: give a plain"
            " DataLoader of a data set with __getitem__ and __len__, or fewer images."
        )


def _memory() -> int:
    """Return the bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
