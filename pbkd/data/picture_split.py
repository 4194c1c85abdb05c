"""Pictures in files or in memory, that are decoded on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.data.prefetch import read_with_processes, read_with_threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from pbkd.data.datasets import RowBatch
    from pbkd.data.image_decoding import ImageDecoder


__all__ = ["PictureSplit"]


@dataclass(frozen=True, eq=False)
class PictureSplit:
    """A split of pictures that are decoded on demand.

    Attributes:
        pictures: The files, or the contents of files, which may be read when they are indexed.
        labels: Their classes, int64 (len,).
        decoder: Turns a file into a tensor.
        workers: Processes that decode (0 = threads of this process).
    """

    pictures: Sequence[str | bytes]
    labels: Tensor
    decoder: ImageDecoder
    workers: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.pictures)

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
        return self.decoder.read(self.pictures[row], seed)

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
