"""Rows of a map-style torch data set, whose items are read when they are needed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset, default_collate

from pbkd.data.datasets import missing_labels
from pbkd.data.labels import class_numbers
from pbkd.data.loader_rows import length_of
from pbkd.data.prefetch import read_with_processes
from pbkd.data.random_state import kept_random_state
from pbkd.data.splits import fixed_permutation
from pbkd.data.torch_batches import guarded, parse_batch
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pbkd.data.datasets import RowBatch

__all__ = ["ChangedRowsError", "ItemReader", "TorchSplit", "collates_row_by_row", "read_labels"]

_BATCH_SIZE = 256  # of the pass that reads all labels
_PROBED_ROWS = 32
_SECONDS_TO_CHECK = 1.0


class ChangedRowsError(DataError):
    """A `collate_fn` makes more or fewer images than it gets items."""


@dataclass(frozen=True, eq=False)
class ItemReader:
    """How the batches of a map-style torch data set are read.

    Attributes:
        dataset: The torch data set.
        collate: Makes a batch of a list of items, as the `DataLoader` of the program does.
        workers: Processes that read (0 = this process).
        options: Further arguments of `DataLoader` for these processes.
    """

    dataset: Any
    collate: Callable[[list[Any]], Any] = default_collate
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def read(
        self, batches: Iterable[Tensor], *, ahead: bool = True
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the images and labels of each batch of rows.

        Args:
            batches: The rows of each batch, int64 (B,).
            ahead: Whether processes read ahead; the alternative is faster for a single batch.

        Raises:
            DataError: An item cannot be read, or a batch has other rows than it should.
        """
        workers = self.workers if ahead or "worker_init_fn" in self.options else 0
        sizes: deque[int] = deque()

        def rows() -> Iterator[RowBatch]:
            for batch in batches:
                sizes.append(len(batch))
                yield batch, None

        with guarded(self.dataset):
            for batch in read_with_processes(
                self.dataset, rows(), workers, self.collate, seeded=False, options=self.options
            ):
                images, labels = parse_batch(batch)
                expected = sizes.popleft()
                if len(images) != expected:
                    raise ChangedRowsError(
                        f"the collate_fn makes {len(images)} images of {expected} items: give a"
                        " loader whose collate_fn keeps each item."
                    )
                yield images, labels


@dataclass(frozen=True, eq=False)
class TorchSplit:
    """Rows of a map-style torch data set, whose items are read anew in every epoch.

    Random transforms of the data set are applied anew as well, so that a repeated run sees other
    images.

    Attributes:
        reader: Reads the items.
        rows: Row numbers of the data set, int64 (len,).
        labels: The class of every row, int64 (len,).
    """

    reader: ItemReader
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def images(self, indices: Tensor) -> Tensor:
        """Return the images of these rows."""
        return next(self._read([(indices, None)], ahead=False))

    def read(self, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
        """Yield the images of each batch, read ahead."""
        return self._read(batches, ahead=True)

    def _read(self, batches: Iterable[RowBatch], *, ahead: bool) -> Iterator[Tensor]:
        asked: deque[Tensor] = deque()

        def rows() -> Iterator[Tensor]:
            for indices, _ in batches:
                asked.append(indices)
                yield self.rows[indices]

        for images, labels in self.reader.read(rows(), ahead=ahead):
            self._check_labels(asked.popleft(), labels)
            yield images

    def _check_labels(self, indices: Tensor, labels: Tensor | None) -> None:
        expected = self.labels[indices]
        if labels is None or bool((expected < 0).all()) or torch.equal(labels, expected):
            return
        first = int((labels != expected).nonzero()[0])
        raise DataError(
            f"item {int(self.rows[indices[first]])} of the {type(self.reader.dataset).__name__} has"
            f" the label {int(labels[first])}, but {int(expected[first])} was read or declared"
            " before: give a data set whose items keep their labels, and agree with its `targets`."
        )


def read_labels(reader: ItemReader, rows: Tensor) -> Tensor:
    """Return the classes of rows of a data set.

    Declared labels (`targets` or `labels`, also of the data sets that a subset or a concatenation
    is made of) are taken if they agree with the items: all of them if that takes a second, else as
    many as a second allows. Otherwise, and with a `collate_fn`, all rows are read once.

    Args:
        reader: Reads the data set.
        rows: Row numbers, int64 (N,), which may repeat.

    Returns:
        Classes, int64 (N,); -1 if the items have no labels.

    Raises:
        DataError: An item cannot be read, or its label is not one class.
    """
    if not len(rows):
        return missing_labels(0)
    distinct, positions = torch.unique(rows, return_inverse=True)
    with kept_random_state(reader.dataset):
        _, first = next(reader.read([distinct[:1]], ahead=False))
        if first is None:
            return missing_labels(len(rows))
        plain = reader.collate is default_collate
        declared = _declared_labels(reader.dataset) if plain else None
        if declared is not None and _agree(reader, distinct, declared):
            return declared[rows]
        labels = [part for _, part in reader.read(torch.split(distinct, _BATCH_SIZE))]
    known = [part for part in labels if part is not None]
    if len(known) < len(labels):
        raise DataError(f"some items of the {type(reader.dataset).__name__} have no labels.")
    return torch.cat(known)[positions]


def _declared_labels(dataset: Any) -> Tensor | None:
    """Return the class of every item as the data set's attributes say, or None."""
    try:
        labels = _labels_in_attributes(dataset)
    except Exception:  # attributes of the program's own classes can be anything
        return None
    return labels if labels is not None and len(labels) == length_of(dataset) else None


def _labels_in_attributes(dataset: Any) -> Tensor | None:
    if getattr(dataset, "target_transform", None) is not None:
        return None
    if isinstance(dataset, Subset):
        inner = _declared_labels(dataset.dataset)
        return None if inner is None else inner[torch.as_tensor(dataset.indices)]
    if isinstance(dataset, ConcatDataset):
        parts = [_declared_labels(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return torch.cat(known) if len(known) == len(parts) else None
    if isinstance(dataset, TensorDataset):
        return class_numbers(dataset.tensors[1])
    for name in ("targets", "labels"):
        if getattr(dataset, name, None) is not None:
            return class_numbers(getattr(dataset, name))
    return None


def _agree(reader: ItemReader, rows: Tensor, declared: Tensor) -> bool:
    end = time.monotonic() + _SECONDS_TO_CHECK
    for part in torch.split(rows[fixed_permutation(len(rows))], _PROBED_ROWS):
        _, labels = next(reader.read([part], ahead=False))
        if labels is None or not torch.equal(labels, declared[part]):
            return False
        if time.monotonic() > end:
            break
    return True


def collates_row_by_row(reader: ItemReader, rows: Tensor) -> bool:
    """Try whether a batch of items is the batch of each item alone, one after the other.

    A `collate_fn` that leaves out, sorts or mixes items, or that fails on single ones, does not.

    Args:
        reader: Reads the data set.
        rows: Row numbers, int64 (N,).
    """
    probed = torch.unique(rows)
    probed = probed[fixed_permutation(len(probed))].repeat(_PROBED_ROWS)[:_PROBED_ROWS]
    with guarded(reader.dataset), kept_random_state(reader.dataset):
        items = [reader.dataset[row] for row in probed.tolist()]
        images, labels = parse_batch(reader.collate(items))
        again, _ = parse_batch(reader.collate(items))
        try:
            alone = [parse_batch(reader.collate([item])) for item in items]
        except Exception:  # the program's function can raise anything
            return False
    if [len(image) for image, _ in alone] != [1] * len(images):
        return False
    single = [label for _, label in alone if label is not None]
    if labels is not None and not (single and torch.equal(torch.cat(single), labels)):
        return False
    fixed = images.shape == again.shape and torch.equal(images, again)
    return not fixed or torch.equal(torch.cat([image for image, _ in alone]), images)
