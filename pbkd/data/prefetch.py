"""Images that are read while those before them are used, by threads or by processes."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from torch import Tensor

    from pbkd.data.datasets import Batch, Split


__all__ = ["prefetch_images", "read_with_processes", "read_with_threads"]

_AHEAD = 2


def prefetch_images(split: Split, batches: Iterable[Batch]) -> Iterator[Tensor]:
    """Yield the images of each batch, in turn; a split that has a `read` knows how to be ahead."""
    read = getattr(split, "read", None)
    if read is None:
        yield from (split.images(rows) for rows, _ in batches)
    else:
        yield from read(batches)


def read_with_threads(
    read: Callable[[int, int | None], Tensor], batches: Iterable[Batch]
) -> Iterator[Tensor]:
    """Yield each batch of what `read(row, seed)` gives, read by threads, two batches ahead."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        ready: deque[list[Future[Tensor]]] = deque()
        try:
            for batch in batches:
                ready.append([pool.submit(read, *key) for key in _keys(batch)])
                if len(ready) > _AHEAD:
                    yield _stacked(ready.popleft())
            while ready:
                yield _stacked(ready.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_with_processes(
    dataset: Any,
    batches: Iterable[Batch],
    workers: int,
    collate: Callable[[list[Any]], Any],
    *,
    seeded: bool,
) -> Iterator[Any]:
    """Yield each batch of a dataset's items, collated, read by so many processes (0: by this one).

    `dataset[row]` is an item, or, `seeded`, `dataset[row, seed]`.
    """
    keys = ([key if seeded else key[0] for key in _keys(batch)] for batch in batches)
    # A generator of its own leaves torch's global one, which training uses, as it is.
    yield from DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.accelerator.is_available(),
        generator=torch.Generator(),
    )


def _keys(batch: Batch) -> Iterator[tuple[int, int | None]]:
    rows, seeds = batch
    yield from zip(rows.tolist(), repeat(None) if seeds is None else seeds.tolist(), strict=False)


def _stacked(futures: list[Future[Tensor]]) -> Tensor:
    return torch.stack([future.result() for future in futures])
