"""The teacher's predictions as labels, for images without labels."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from pbkd.data.prefetch import prefetch_images
from pbkd.models.accuracy import predict_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from torch import Tensor

    from pbkd.data.datasets import Dataset, RowBatch, Split
    from pbkd.models.teacher import Teacher


__all__ = ["PseudoLabelledSplit", "with_pseudo_labels"]


class PseudoLabelledSplit:
    """A split whose labels are the teacher's predictions, computed on first use.

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

    def know_labels(self, labels: Tensor) -> None:
        """Take over the labels, which other processes predicted."""
        self.__dict__["labels"] = labels

    @property
    def labels_are_known(self) -> bool:
        """Whether the labels have been computed."""
        return "labels" in self.__dict__

    @cached_property
    def labels(self) -> Tensor:
        """The teacher's class of every row: int64 (len,)."""
        teacher = self._teacher
        return predict_classes(
            teacher.network, self._split, teacher.normalization, device=self._device
        )


def with_pseudo_labels(data: Dataset, teacher: Teacher, device: torch.device) -> Dataset:
    """Label validation and test split with the teacher's predictions, if the data has no labels.

    Args:
        data: The data, with or without labels.
        teacher: The teacher, on `device`.
        device: Where to compute the predictions.

    Returns:
        `data` itself if it has labels.
    """
    if data.labelled:
        return data
    return replace(
        data,
        validation=PseudoLabelledSplit(data.validation, teacher, device),
        test=PseudoLabelledSplit(data.test, teacher, device),
    )
