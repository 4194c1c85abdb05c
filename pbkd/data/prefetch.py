"""Reading of images ahead of their use, by threads or by processes."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from torch import Tensor

    from pbkd.data.datasets import RowBatch, Split


__all__ = ["prefetch_images", "read_with_processes", "read_with_threads"]

_BATCHES_AHEAD = 2
_MAX_THREADS = 8


def prefetch_images(split: Split, batches: Iterable[RowBatch]) -> Iterator[Tensor]:
    """Yield the images of each batch, (B, C, H, W); a split with a method `read` prefetches them.

    Args:
        split: The images.
        batches: The rows of each batch, with seeds of random resized crops.
    """
    read = getattr(split, "read", None)
    if read is None:
        yield from (split.images(rows) for rows, _ in batches)
    else:
        yield from read(batches)


def read_with_threads(
    read: Callable[[int, int | None], Tensor], batches: Iterable[RowBatch]
) -> Iterator[Tensor]:
    """Yield stacked batches that a pool of threads reads, up to two batches ahead.

    Args:
        read: Reads one item, from its row and its seed (or None).
        batches: The rows and seeds of each batch.
    """
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        ready: deque[list[Future[Tensor]]] = deque()
        try:
            for batch in batches:
                ready.append([pool.submit(read, *item) for item in _items(batch)])
                if len(ready) > _BATCHES_AHEAD:
                    yield _stack(ready.popleft())
            while ready:
                yield _stack(ready.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_with_processes(
    dataset: Any,
    batches: Iterable[RowBatch],
    workers: int,
    collate: Callable[[list[Any]], Any],
    *,
    seeded: bool,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Any]:
    """Yield collated batches that the worker processes of a torch `DataLoader` read.

    Args:
        dataset: A map-style data set. It is indexed by row, or by (row, seed) if `seeded`.
        batches: The rows and seeds of each batch.
        workers: Number of processes (0 = read in this process).
        collate: Makes a batch of a list of items.
        seeded: Whether `dataset` takes a seed for each row.
        options: Further arguments of `DataLoader` for its processes.
    """
    keys = ([item if seeded else item[0] for item in _items(batch)] for batch in batches)
    yield from DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=_for_gpu(),
        generator=torch.Generator(),  # so that torch's global generator, for training, stays as is
        **(options if workers else {}),
    )


def _items(batch: RowBatch) -> Iterator[tuple[int, int | None]]:
    rows, seeds = batch
    yield from zip(rows.tolist(), repeat(None) if seeds is None else seeds.tolist(), strict=False)


def _stack(futures: list[Future[Tensor]]) -> Tensor:
    """Stack a batch, in pinned memory for a GPU, which then reads it by itself."""
    images = [future.result() for future in futures]
    if not _for_gpu():
        return torch.stack(images)
    shape = len(images), *images[0].shape
    batch = torch.empty(shape, dtype=images[0].dtype, pin_memory=True)
    return torch.stack(images, out=batch)


def _for_gpu() -> bool:
    """Whether this process computes on a GPU; a run on the CPU must not wake one."""
    is_awake: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return is_awake
