"""A plugin's own split, whose images are checked whenever they are read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pbkd.data.prefetch import prefetch_images
from pbkd.errors import PLUGIN_FAILURES, DataError, PbkdError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from pbkd.data.datasets import RowBatch, Split


__all__ = ["GuardedSplit"]


@dataclass(frozen=True, eq=False)
class GuardedSplit:
    """The images of another split, checked for type and shape.

    Attributes:
        split: The images.
        image_shape: (channels, height, width) that every image must have.
        origin: What returned the split, for error messages.
    """

    split: Split
    image_shape: tuple[int, int, int]
    origin: str

    @property
    def labels(self) -> Tensor:
        """The class of every row, int64 (len,)."""
        return self.split.labels

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.split)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        (images,) = self.read([(indices, None)])
        return images

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch."""
        counts: deque[int] = deque()

        def counted() -> Iterator[RowBatch]:
            for batch in batches:
                counts.append(len(batch[0]))
                yield batch

        try:
            for images in prefetch_images(self.split, counted()):
                self._check(images, counts.popleft())
                yield images
        except PbkdError:
            raise
        except PLUGIN_FAILURES as error:
            raise DataError(
                f"{self.origin} failed in reading images ({one_line(error)})."
            ) from error

    def _check(self, images: Any, count: int) -> None:
        wanted = (count, *self.image_shape)
        if not isinstance(images, torch.Tensor):
            found = f"a {type(images).__name__}"
        elif images.dtype not in (torch.uint8, torch.float32):
            found = f"{str(images.dtype).removeprefix('torch.')}"
        elif tuple(images.shape) != wanted or images.device.type != "cpu":
            found = f"{tuple(images.shape)} on {images.device.type}"
        else:
            return
        raise DataError(
            f"{self.origin} gave images that are {found}: give a tensor {wanted} of uint8 or"
            " float32 on the CPU."
        )
