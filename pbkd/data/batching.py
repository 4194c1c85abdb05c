"""Batches of a split: shuffled and augmented for training, sequential for scoring.

Images stay uint8 until they are on the device that uses them, which takes a quarter of the memory
and of the transfer that float32 would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.data.augmentation import WHOLE
from pbkd.data.prefetch import prefetch_images
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pbkd.data.augmentation import Augmentation
    from pbkd.data.datasets import Split


__all__ = [
    "sequential_batches",
    "sequential_images",
    "shuffled_batches",
    "shuffled_rows",
    "steps_per_epoch",
]


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Compute the number of batches per epoch: full batches, but at least one.

    Args:
        split: The images and labels.
        batch_size: Images per batch.

    Returns:
        The number of batches.

    Raises:
        DataError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise DataError(f"the batch size is {batch_size}, but must be at least 1.")
    return max(1, len(split) // batch_size)


def shuffled_batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    augmentation: Augmentation,
    phase: str = "train",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of shuffled, augmented batches.

    The order depends on (seed, phase, epoch) only, a batch's augmentation on (seed, phase, epoch,
    step), and a random resized crop on (seed, phase, epoch, row). Incomplete batches are dropped,
    but a split smaller than `batch_size` is one batch.

    Args:
        split: The images and labels.
        batch_size: Images per batch.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.
        augmentation: The random changes to the images, and the rows of each batch that are wanted.
        phase: Name of the phase; phases get independent random streams.

    Yields:
        Images, (B, C, H, W), uint8 or float32, on the CPU; and their labels, int64 (B,), or soft
        labels, float32 (B, classes), if the augmentation mixes images.
    """
    order = list(shuffled_rows(split, batch_size, seed=seed, epoch=epoch, phase=phase))
    crop_seed = derive_seed(seed, phase, epoch, "parts")
    read = augmentation.part if augmentation.is_per_image else WHOLE
    batches = ((rows[read], augmentation.crop_seeds(rows[read], crop_seed)) for rows in order)
    for step, images in enumerate(prefetch_images(split, batches)):
        generator = _generator(seed, phase, epoch, "augmentation", step)
        yield augmentation.augment_part(images, split.labels[order[step]], generator)


def shuffled_rows(
    split: Split, batch_size: int, *, seed: int, epoch: int, phase: str
) -> Iterator[Tensor]:
    """Yield the row numbers of the batches of `shuffled_batches`.

    Args:
        split: The images and labels.
        batch_size: Images per batch.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.
        phase: Name of the phase; phases get independent random streams.

    Yields:
        Row numbers, int64 (B,).
    """
    order = torch.randperm(len(split), generator=_generator(seed, phase, epoch, "order"))
    for step in range(steps_per_epoch(split, batch_size)):
        yield order[step * batch_size : (step + 1) * batch_size]


def sequential_batches(
    split: Split,
    batch_size: int,
    part: slice = WHOLE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, in order and without augmentation.

    Args:
        split: The images and labels.
        batch_size: Images per batch.
        part: The batches that are wanted.

    Yields:
        Images, (B, C, H, W), uint8 or float32, on the CPU; and their labels, int64 (B,).
        The last batch may be smaller.
    """
    order = torch.split(torch.arange(len(split)), batch_size)[part]
    images_of_batches = sequential_images(split, batch_size, part)
    for rows, images in zip(order, images_of_batches, strict=True):
        yield images, split.labels[rows]


def sequential_images(split: Split, batch_size: int, part: slice = WHOLE) -> Iterator[Tensor]:
    """Yield the images of `sequential_batches`, whose labels need not be known."""
    order = torch.split(torch.arange(len(split)), batch_size)[part]
    yield from prefetch_images(split, ((rows, None) for rows in order))


def _generator(seed: int, *parts: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, *parts))
