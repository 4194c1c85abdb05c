"""The teacher's answers in the place of labels, for images that have none."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from pbkd.data.prefetch import prefetch_images
from pbkd.models.metrics import answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from torch import Tensor

    from pbkd.data.datasets import Dataset, RowBatch, Split
    from pbkd.models.teacher import Teacher


__all__ = ["Answered", "with_answers"]


class Answered:
    """A split whose labels are the teacher's answers, asked for when they are first used.

    A network's accuracy on it is its agreement with the teacher.
    """

    def __init__(self, split: Split, teacher: Teacher, device: torch.device) -> None:
        """Take the images of `split`; the teacher is on `device`."""
        self._split = split
        self._teacher = teacher
        self._device = device

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._split)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return self._split.images(indices)

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch."""
        return prefetch_images(self._split, batches)

    @cached_property
    def labels(self) -> Tensor:
        """The class that the teacher gives to every row: int64, (len,)."""
        teacher, device = self._teacher, self._device
        return answers(
            teacher.network, self._split, mean=teacher.mean, std=teacher.std, device=device
        )


def with_answers(data: Dataset, teacher: Teacher, device: torch.device) -> Dataset:
    """Return the data with the teacher's answers to validation and test, if it has no labels."""
    if data.labelled:
        return data
    return replace(
        data,
        validation=Answered(data.validation, teacher, device),
        test=Answered(data.test, teacher, device),
    )
