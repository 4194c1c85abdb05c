"""The rows of its data set that a torch `DataLoader` yields in a pass."""

from __future__ import annotations

import operator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from pbkd.data.random_state import kept_random_state
from pbkd.data.torch_batches import guarded
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

__all__ = ["batch_size_of", "every_row", "length_of", "rows_of"]

_MAX_ROWS = 10**8

_PATIENCE = 300_000  # rows, or ten times the data set, after which a sampler is taken as endless
_ITERATION = ("__iter__", "_get_iterator", "_index_sampler", "_auto_collation")


def rows_of(loader: DataLoader[Any], *, scored: bool) -> Tensor | None:
    """Find the rows that a loader yields in one pass.

    A loader that shuffles and drops the last batch leaves out other rows in every pass: for
    training, these are all rows.

    Args:
        loader: The loader.
        scored: Whether the images are for validation or test.

    Returns:
        Row numbers of the loader's data set, in ascending order, as often as they are yielded:
        int64 (len,). None if only the loader's own iteration knows: for an iterable data set, for a
        subclass that changes the iteration, without automatic batching, and for keys that are no
        row numbers.

    Raises:
        DataError: The sampler fails, or it has no length and no end.
    """
    changed = any(
        getattr(type(loader), name, None) is not getattr(DataLoader, name) for name in _ITERATION
    )
    if changed or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    count = length_of(loader.dataset)
    if count is not None and _yields_all(loader, count, scored=scored):
        return every_row(loader.dataset)
    with guarded(loader.batch_sampler), kept_random_state(loader):
        keys = _keys_of_a_pass(loader, count or 0)
    try:
        rows = torch.tensor([operator.index(key) for key in keys], dtype=torch.int64)
    except TypeError:
        return None
    if count is not None:
        rows = torch.where(rows < 0, rows + count, rows)
        outside = rows[(rows < 0) | (rows >= count)]
        if len(outside):
            raise DataError(
                f"the {type(loader.batch_sampler).__name__} of the loader yields row"
                f" {int(outside[0])} of a data set of {count}: give it a sampler for this data set."
            )
    return rows.sort().values


def every_row(dataset: Any) -> Tensor:
    """Return the row numbers of a map-style data set.

    Raises:
        DataError: Its length is no number of images that anyone has.
    """
    if len(dataset) > _MAX_ROWS:
        raise DataError(
            f"the {type(dataset).__name__} says that it has {len(dataset):,} images: give a Subset"
            f" of at most {_MAX_ROWS:,}, or a sampler."
        )
    return torch.arange(len(dataset))


def length_of(sized: Any) -> int | None:
    """Return the length that an object says it has, or None."""
    try:
        return len(sized)
    except (AttributeError, NotImplementedError, TypeError):
        return None


def batch_size_of(source: Any) -> int | None:
    """Return the batch size of a loader, None for anything else or if its batches have no size."""
    sampler = getattr(source, "batch_sampler", None)
    for part in (source, sampler):
        size = getattr(part, "batch_size", None)
        if isinstance(size, int):
            return size
    if sampler is None:
        return None
    with guarded(sampler), kept_random_state(source):
        first = next(iter(sampler), None)
    return length_of(first)


def _yields_all(loader: DataLoader[Any], count: int, *, scored: bool) -> bool:
    """Whether a loader yields every row once: in order, or shuffled by torch."""
    batches = loader.batch_sampler
    if type(batches) is not BatchSampler:
        return False
    sampler = batches.sampler
    if type(sampler) is SequentialSampler:
        return len(sampler) == count and not batches.drop_last
    return (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and len(sampler) == length_of(sampler.data_source) == count
        and not (scored and batches.drop_last)
    )


class _Keys:
    """A data set whose item for a key is the key."""

    def __getitem__(self, key: Any) -> Any:
        return key


def _keys_of_a_pass(loader: DataLoader[Any], count: int) -> list[Any]:
    """Return the keys of a pass; of an endless one, those up to the loader's length."""
    batches = iter(
        DataLoader(
            _Keys(),  # type: ignore[arg-type]
            batch_sampler=loader.batch_sampler,
            collate_fn=list,
            generator=loader.generator,
        )
    )
    length = length_of(loader)
    keys = [list(batch) for batch in islice(batches, length or 0)]
    known = sum(map(len, keys))
    rest = list(_up_to(batches, max(_PATIENCE, 10 * count, known)))
    if next(batches, None) is None:
        return list(chain(*keys, *rest))
    if length is None:
        raise DataError(
            f"the {type(loader.batch_sampler).__name__} of the loader has no length and yields more"
            f" than {sum(map(len, rest)):,} rows: give it a __len__, the batches of an epoch."
        )
    return list(chain(*keys))


def _up_to(batches: Iterable[list[Any]], count: int) -> Iterator[list[Any]]:
    """Yield batches until they have more than `count` rows together."""
    for batch in batches:
        yield batch
        count -= len(batch)
        if count < 0:
            return
