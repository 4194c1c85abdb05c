"""The range of the values of float images, and checks of it whenever they are read."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.data.datasets import ArraySplit
from pbkd.data.pixel_values import PixelRange
from pbkd.data.prefetch import prefetch_images
from pbkd.data.random_state import kept_random_state
from pbkd.data.splits import Subset
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

    from pbkd.data.datasets import RowBatch, Split


__all__ = ["CheckedSplit", "is_in_memory", "pixel_range"]

_SAMPLE = 32
_CHUNK = 512
_FEWEST = 8


def pixel_range(splits: Mapping[str, Split]) -> PixelRange | None:
    """Find the range of float images: of all images in memory, and of a sample of the others.

    Args:
        splits: The splits by name.

    Returns:
        The range; None for uint8 images.

    Raises:
        DataError: Images are not finite, or some are uint8 and others floats outside of [0, 1].
    """
    with kept_random_state(None):  # images may be augmented at random
        ranges = {name: _range_of(name, split) for name, split in splits.items()}
    floats = [found for found in ranges.values() if found]
    kinds: dict[str, str] = {}
    for name, found in ranges.items():
        if len(splits[name]) >= _FEWEST or not found:
            values = f"floats {found}" if found else "uint8"
            kinds.setdefault(found.kind if found else "uint8", f"the {name} images are {values}")
    different = len(kinds) > 1 and set(kinds) != {"uint8", "unit"}
    difference = ", but ".join(kinds.values()) if different else ""
    if different and "uint8" in kinds:
        raise DataError(f"{difference}: prepare all of them in the same way.")
    if not floats:
        return None
    return PixelRange(
        tuple(map(min, zip(*(found.low for found in floats), strict=True))),
        tuple(map(max, zip(*(found.high for found in floats), strict=True))),
        difference,
    )


def _range_of(name: str, split: Split) -> PixelRange | None:
    """Find the range of a split; None for uint8 images."""
    step = 1 if is_in_memory(split) else -(-len(split) // _SAMPLE)
    rows = torch.arange(0, len(split), step)
    if not split.images(rows[:1]).is_floating_point():
        return None
    lows, highs = [], []
    for part in torch.split(rows, _CHUNK):
        images = split.images(part)
        _check_finite(name, split, part, images)
        channels = images.transpose(0, 1).flatten(1)
        lows.append(channels.amin(1))
        highs.append(channels.amax(1))
    return PixelRange(
        tuple(torch.stack(lows).amin(0).tolist()), tuple(torch.stack(highs).amax(0).tolist())
    )


def is_in_memory(split: Split) -> bool:
    """Tell whether the images of a split are the same, and at hand, whenever they are read."""
    while isinstance(split, Subset):
        split = split.source
    return isinstance(split, ArraySplit)


def _check_finite(name: str, split: Split, rows: Tensor, images: Tensor) -> None:
    if not bool(torch.isfinite(images.sum())):
        finite = torch.isfinite(images).flatten(1).all(1)
        for row in rows[~finite]:
            raise DataError(
                f"{_image(name, split, row)} has pixels that are NaN or infinite: mend it or leave"
                " it out."
            )


def _image(name: str, split: Split, row: Tensor) -> str:
    """Name an image by its row in the data that the program gave."""
    while isinstance(split, Subset):
        row, split = split.rows[row], split.source
    rows: Tensor | None = getattr(split, "rows", None)
    number = int(row if rows is None else rows[row])
    return f"image {number}, counted from 0 in the data for {name},"


@dataclass(frozen=True, eq=False)
class CheckedSplit:
    """Float images of another split, whose values are checked whenever they are read.

    Attributes:
        split: The images.
        name: The split's name, for errors.
        low: Smallest allowed value.
        high: Largest allowed value.
    """

    split: Split
    name: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def labels(self) -> Tensor:
        """The class of every row, int64 (len,)."""
        return self.split.labels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.split)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self._checked(indices, self.split.images(indices))

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch, read ahead."""
        pending: deque[Tensor] = deque()

        def noted() -> Iterator[RowBatch]:
            for batch in batches:
                pending.append(batch[0])
                yield batch

        for images in prefetch_images(self.split, noted()):
            yield self._checked(pending.popleft(), images)

    def _checked(self, rows: Tensor, images: Tensor) -> Tensor:
        if not images.is_floating_point():
            return images
        _check_finite(self.name, self.split, rows, images)
        low, high = (float(value) for value in images.aminmax())
        if low < self.low or high > self.high:
            outside = ((images < self.low) | (images > self.high)).flatten(1).any(1)
            raise DataError(
                f"{_image(self.name, self.split, rows[outside][0])} has"
                f" pixels from {low:.4g} to {high:.4g}, but others were from 0 to {self.high:.0f}:"
                " prepare all of them in the same way."
            )
        return images
