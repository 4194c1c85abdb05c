"""Images and labels: splits, data sets, augmentation, batches.

Images stay uint8 until they are on the device that uses them: a quarter of the memory and of the
traffic that floats would need. Floats are images that are normalised already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.data.prefetch import prefetch_images
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from pbkd.data.datasets import Split
    from pbkd.data.transforms import Augmentation


__all__ = [
    "normalise",
    "sequential_batches",
    "shuffled_batches",
    "shuffled_rows",
    "steps_per_epoch",
]


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return how many batches `batches` yields: full ones only, but at least one."""
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
    """Yield one epoch of shuffled, augmented images, uint8 (B, C, H, W), and labels, int64 (B,).

    The order depends only on (seed, phase, epoch), the augmentation of a batch only on (seed,
    phase, epoch, step), and a random part of a picture only on (seed, phase, epoch, row). Batches
    are full, rows left over wait for another epoch's order; a split smaller than `batch_size` is
    one batch.
    """
    order = list(shuffled_rows(split, batch_size, seed=seed, epoch=epoch, phase=phase))
    parts = derive_seed(seed, phase, epoch, "parts")
    wanted = ((rows, augmentation.seeds(rows, parts)) for rows in order)
    for step, images in enumerate(prefetch_images(split, wanted)):
        generator = _generator(seed, phase, epoch, "augmentation", step)
        yield augmentation.augment(images, generator), split.labels[order[step]]


def shuffled_rows(
    split: Split, batch_size: int, *, seed: int, epoch: int, phase: str
) -> Iterator[Tensor]:
    """Yield the rows, int64 (B,), of each batch of one epoch, in the order of `batches`."""
    order = torch.randperm(len(split), generator=_generator(seed, phase, epoch, "order"))
    for step in range(steps_per_epoch(split, batch_size)):
        yield order[step * batch_size : (step + 1) * batch_size]


def sequential_batches(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, unchanged and in order, with its label; the last batch may be small.

    Images are uint8, or floats, (B, C, H, W), labels int64 (B,).
    """
    order = torch.split(torch.arange(len(split)), batch_size)
    for rows, images in zip(order, prefetch_images(split, ((r, None) for r in order)), strict=True):
        yield images, split.labels[rows]


def normalise(
    images: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device | str
) -> Tensor:
    """Return uint8 `images`, (B, C, H, W), as (images / 255 - mean) / std on `device`.

    The result is float32 and channels-last. `mean` and `std` have one value per channel. Floats are
    normalised already and stay as they are.
    """
    if not len(mean) == len(std) == images.shape[1]:
        raise DataError(
            f"the images have {images.shape[1]} channels, but mean and std have {len(mean)} and"
            f" {len(std)} values."
        )
    pixels = images.to(device, non_blocking=True)
    pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
    if images.is_floating_point():
        return pixels
    return pixels.div_(255).sub_(_per_channel(mean, device)).div_(_per_channel(std, device))


def _per_channel(values: Sequence[float], device: torch.device | str) -> Tensor:
    column = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    return column.to(device, non_blocking=True)


def _generator(seed: int, *parts: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, *parts))
