"""Images and labels: splits, data sets, augmentation, batches.

Images stay uint8 until they are on the device that uses them: a quarter of the memory and of the
traffic that floats would need.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from pbkd.errors import DataError
from pbkd.seed import derive_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

__all__ = [
    "ArraySplit",
    "Augmentation",
    "Dataset",
    "FolderSplit",
    "Rows",
    "Split",
    "batches",
    "in_order",
    "normalise",
    "row_batches",
    "steps_per_epoch",
]


class Split(Protocol):
    """Labelled images, addressed by row."""

    @property
    def labels(self) -> Tensor:
        """The class of every row: int64, (len,)."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows: uint8, (B, C, H, W), on the CPU."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images held in memory: `pixels` is uint8 (N, C, H, W), `labels` int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Check types and shapes; raises `DataError`."""
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise DataError(
                f"images must be uint8 (N, C, H, W), not {self.pixels.dtype}"
                f" {tuple(self.pixels.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise DataError(
                f"labels for {len(self.pixels)} images must be int64 ({len(self.pixels)},), not"
                f" {self.labels.dtype} {tuple(self.labels.shape)}."
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.pixels)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self.pixels.index_select(0, indices)


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """Image files, decoded when asked for: RGB, shorter side resized to `size`, centre cropped."""

    paths: tuple[str, ...]
    labels: Tensor
    size: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.paths)

    def images(self, indices: Tensor) -> Tensor:
        """Decode the images of these rows; raises `DataError` naming a file that is corrupt."""
        paths = [self.paths[index] for index in indices.tolist()]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return torch.stack(list(pool.map(self._decode, paths)))

    def _decode(self, path: str) -> Tensor:
        from PIL import Image
        from torchvision.transforms.v2 import functional as transforms

        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except Exception as error:  # each of Pillow's decoders fails with types of its own
            raise DataError(
                f"the image {path} cannot be read ({error}); replace or remove it."
            ) from error
        image = transforms.resize(image, [self.size])
        pixels: Tensor = transforms.pil_to_tensor(transforms.center_crop(image, [self.size]))
        return pixels


class Rows:
    """Some rows of another split, in the order given; shares its images."""

    def __init__(self, split: Split, rows: Tensor) -> None:
        """Take `rows`, int64 (len,), of `split`."""
        self.labels = split.labels[rows]
        self._split = split
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self._split.images(self._rows[indices])


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn for each image alone.

    `crop` pads with so many black pixels on every side and cuts the old size out again at a random
    place: a shift by up to `crop` pixels each way. `flip` mirrors left to right, with probability
    one half. Both are the standard augmentation of CIFAR (He et al. 2015, arXiv:1512.03385, 4.2).
    """

    crop: int = 0
    flip: bool = False

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of `images`, uint8 (B, C, H, W); `generator` is on the CPU."""
        return self.apply(images, self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the changes of so many images, int64 (3, count): top, left, mirrored or not."""
        draws = torch.zeros(3, count, dtype=torch.int64)
        if self.crop:
            draws[:2] = torch.randint(2 * self.crop + 1, (2, count), generator=generator)
        if self.flip:
            draws[2] = torch.randint(2, (count,), generator=generator)
        return draws

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return changed copies of `images`, as drawn."""
        if self.crop:
            images = _shift(images, self.crop, draws[0], draws[1])
        if self.flip:
            mirrored = draws[2].view(-1, 1, 1, 1) == 1
            images = torch.where(mirrored, images.flip(3), images)
        return images


def _shift(images: Tensor, pixels: int, top: Tensor, left: Tensor) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    # A view with every possible crop of every image, (B, C, tops, lefts, H, W); one each is copied.
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(count), :, top, left]


@dataclass(frozen=True)
class Dataset:
    """What a run trains, selects and scores on.

    Everything that is chosen is chosen on `validation`, which is cut off the training rows;
    `test` is the source's own test split and is only for the figures in the report. Images are
    `image_shape`, (C, H, W); labels are 0 … `num_classes` - 1. Raises `DataError` if not.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    image_shape: tuple[int, int, int]
    augment: Augmentation

    def __post_init__(self) -> None:
        """Check the labels, the sizes and that the crop fits the images."""
        if self.num_classes < 2:
            raise DataError(
                f"data set '{self.name}' has {self.num_classes} class; at least 2 are needed."
            )
        for split in ("train", "validation", "test"):
            self._check_labels(split, getattr(self, split).labels)
        smallest = min(self.image_shape[1:])
        if not 0 <= self.augment.crop < smallest:
            raise DataError(
                f"data.crop is {self.augment.crop}, but for images of {self.image_shape} pixels it"
                f" must be 0 … {smallest - 1}."
            )

    def _check_labels(self, split: str, labels: Tensor) -> None:
        if not len(labels):
            raise DataError(f"the {split} split of data set '{self.name}' is empty.")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise DataError(
                f"the {split} labels of data set '{self.name}' run from {low} to {high}, but must"
                f" be 0 … {self.num_classes - 1}."
            )


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return how many batches `batches` yields: full ones only, but at least one."""
    if batch_size < 1:
        raise DataError(f"the batch size is {batch_size}, but must be at least 1.")
    return max(1, len(split) // batch_size)


def batches(
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
    phase, epoch, step). Batches are full, rows left over wait for another epoch's order; a split
    smaller than `batch_size` is one batch.
    """
    for step, rows in enumerate(
        row_batches(split, batch_size, seed=seed, epoch=epoch, phase=phase)
    ):
        images = split.images(rows)
        generator = _generator(seed, phase, epoch, "augmentation", step)
        yield augmentation.augment(images, generator), split.labels[rows]


def row_batches(
    split: Split, batch_size: int, *, seed: int, epoch: int, phase: str
) -> Iterator[Tensor]:
    """Yield the rows, int64 (B,), of each batch of one epoch, in the order of `batches`."""
    order = torch.randperm(len(split), generator=_generator(seed, phase, epoch, "order"))
    for step in range(steps_per_epoch(split, batch_size)):
        yield order[step * batch_size : (step + 1) * batch_size]


def in_order(split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, unchanged and in order, with its label; the last batch may be small.

    Images are uint8 (B, C, H, W), labels int64 (B,).
    """
    for rows in torch.split(torch.arange(len(split)), batch_size):
        yield split.images(rows), split.labels[rows]


def normalise(
    images: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device | str
) -> Tensor:
    """Return uint8 `images`, (B, C, H, W), as (images / 255 - mean) / std on `device`.

    The result is float32 and channels-last. `mean` and `std` have one value per channel.
    """
    if not len(mean) == len(std) == images.shape[1]:
        raise DataError(
            f"the images have {images.shape[1]} channels, but mean and std have {len(mean)} and"
            f" {len(std)} values."
        )
    pixels = images.to(device, non_blocking=True)
    pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
    return pixels.div_(255).sub_(_per_channel(mean, device)).div_(_per_channel(std, device))


def _per_channel(values: Sequence[float], device: torch.device | str) -> Tensor:
    column = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
    return column.to(device, non_blocking=True)


def _generator(seed: int, *parts: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, *parts))
