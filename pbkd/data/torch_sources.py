"""A program's tensors, torch data sets and loaders, as the rows that a pass over them yields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from pbkd.data.datasets import ArraySplit, missing_labels
from pbkd.data.labels import class_numbers
from pbkd.data.loader_memory import read_loader
from pbkd.data.loader_rows import every_row, length_of, rows_of
from pbkd.data.pixel_values import to_pixels
from pbkd.data.row_keys import content_keys, dataset_keys, object_key, tensor_keys
from pbkd.data.shared_rows import SourceRows
from pbkd.data.splits import Subset
from pbkd.data.torch_batches import describe, parse_batch
from pbkd.data.torch_split import (
    ChangedRowsError,
    ItemReader,
    TorchSplit,
    collates_row_by_row,
    read_labels,
)
from pbkd.errors import DataError

if TYPE_CHECKING:
    from pbkd.data.datasets import Split

__all__ = ["read_source"]


def read_source(source: Any, name: str, *, scored: bool) -> SourceRows:
    """Take the rows of a source of images.

    A loader gives the rows that it yields in one pass, as often as it yields them, with any
    sampler. Items are read when they are needed, and so anew in every epoch, unless only the
    loader's own iteration knows what it yields: then its images are read into memory.

    Args:
        source: A torch `DataLoader`, another iterable of batches, a map-style or iterable data set,
            a tensor of images, or a pair of images and labels.
        name: What its images are for: "training", "validation" or "test".
        scored: Whether they are for validation or test.

    Raises:
        DataError: The source cannot be read.
    """
    if isinstance(source, (Tensor, np.ndarray)):
        return _from_arrays(source, None)
    arrays = _arrays_in(source)
    if arrays:
        return _from_arrays(*arrays)
    if isinstance(source, DataLoader):
        return _from_loader(source, name, scored=scored)
    if isinstance(source, IterableDataset):
        return _read_in_order(DataLoader(source), name)
    if not isinstance(source, (str, bytes, Mapping)):
        batches = isinstance(source, (list, tuple)) and _holds_batches(source)
        if hasattr(source, "__getitem__") and length_of(source) is not None and not batches:
            return _from_items(ItemReader(source), every_row(source), name)
        if hasattr(source, "__iter__"):
            return _read_in_order(source, name)
    raise DataError(
        f"a {type(source).__name__} cannot be read from: give a torch DataLoader, a data set"
        " with __getitem__ and __len__, a tensor of images, or a pair of images and labels."
    )


def _arrays_in(source: Any) -> tuple[Any, Any] | None:
    """Return the images and labels of a sequence of arrays: images, labels, and anything else."""
    if not isinstance(source, (tuple, list)) or _holds_batches(source):
        return None
    arrays = all(isinstance(part, (Tensor, np.ndarray)) for part in source)
    if len(source) == 2 and not isinstance(source[0], (tuple, Mapping)):
        return source[0], source[1]
    if len(source) > 2 and arrays and source[0].ndim == 4 and len(source[0]) == len(source[1]):
        return source[0], source[1]
    return None


def _holds_batches(source: list[Any] | tuple[Any, ...]) -> bool:
    array = bool(source) and isinstance(source[0], (Tensor, np.ndarray))
    if not source or (array and getattr(source[-1], "ndim", 0) != 4):
        return False
    try:
        parse_batch(source[0])
    except DataError:
        return False
    return True


def _from_arrays(images: Any, labels: Any, rows: Tensor | None = None) -> SourceRows:
    try:
        tensor = images if isinstance(images, Tensor) else torch.as_tensor(np.asarray(images))
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataError("the images are not an array (N, channels, height, width).") from error
    count = len(tensor) if tensor.ndim else 0
    classes = missing_labels(count) if labels is None else class_numbers(labels)
    split: Split = ArraySplit(to_pixels(tensor), classes)
    keys = tensor_keys(tensor)
    if rows is None or torch.equal(rows, torch.arange(count)):
        return SourceRows(split=split, keys=keys)
    return SourceRows(split=Subset(split, rows), keys=keys[rows])


def _from_loader(loader: DataLoader[Any], name: str, *, scored: bool) -> SourceRows:
    rows = rows_of(loader, scored=scored)
    if rows is None:
        return _read_in_order(loader, name)
    if not len(rows):
        raise DataError(f"the {describe(loader)} for {name} gives no batches.")
    dataset, collate = loader.dataset, loader.collate_fn
    if type(dataset) is TensorDataset and collate is default_collate:
        images, labels = (*dataset.tensors, None)[:2]
        taken = _from_arrays(images, labels, rows)
    else:
        reader = ItemReader(dataset, collate, loader.num_workers, _process_options(loader))
        if collate is not default_collate and not collates_row_by_row(reader, rows):
            return _read_in_order(loader, name)
        try:
            taken = _from_items(reader, rows, name)
        except ChangedRowsError:
            return _read_in_order(loader, name)
    return taken if scored else _with_note(taken, rows, length_of(dataset))


def _from_items(reader: ItemReader, rows: Tensor, name: str) -> SourceRows:
    if not len(rows):
        raise DataError(f"the {type(reader.dataset).__name__} for {name} is empty.")
    split = TorchSplit(reader, rows, read_labels(reader, rows))
    return SourceRows(split=split, keys=dataset_keys(reader.dataset, rows))


def _read_in_order(loader: Any, name: str) -> SourceRows:
    loaded = read_loader(loader)
    count = len(loaded.images)
    split = ArraySplit(
        loaded.images, missing_labels(count) if loaded.labels is None else loaded.labels
    )
    end = "up to its length" if loaded.endless else "to its end"
    return SourceRows(
        split=split,
        keys=content_keys(split),
        reach=_reach(loader),
        notes=(
            f"The {count} {name} images were read from the {describe(loader)} in its own order"
            f" {end}{'; every epoch uses these' if name == 'training' else ''}.",
        ),
    )


def _reach(loader: Any) -> Tensor:
    """Return the keys of all rows that a loader may read."""
    attributes = getattr(loader, "__dict__", {}).values()
    wrapped = next((part for part in attributes if isinstance(part, DataLoader)), loader)
    dataset = getattr(wrapped, "dataset", wrapped)
    count = None if isinstance(dataset, IterableDataset) else length_of(dataset)
    if count is None or not hasattr(dataset, "__getitem__"):
        return object_key(dataset)
    return dataset_keys(dataset, every_row(dataset))


def _with_note(taken: SourceRows, rows: Tensor, count: int | None) -> SourceRows:
    """Note which images of its data set a training loader yields, if not each of them once."""
    if count is None or torch.equal(rows, torch.arange(count)):
        return taken
    distinct = len(torch.unique(rows))
    repeated = "" if distinct == len(rows) else f" ({len(rows)} with repetitions)"
    note = (
        f"The training loader yields {distinct} of the {count} images of its data set{repeated};"
        " every epoch uses these."
    )
    return SourceRows(split=taken.split, keys=taken.keys, notes=(*taken.notes, note))


def _process_options(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return the arguments of a loader that its processes depend on."""
    context = loader.multiprocessing_context
    options = {
        "multiprocessing_context": context and context.get_start_method(),
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "prefetch_factor": loader.prefetch_factor,
    }
    return {key: value for key, value in options.items() if value} if loader.num_workers else {}
