"""Filling of the activation cache, by all workers of a run together."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from filelock import FileLock

from pbkd.errors import CacheError
from pbkd.training.activation_cache import ActivationCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

    from pbkd.training.activation_cache import CacheSpec


__all__ = ["fill_cache", "open_cache"]


def open_cache(
    spec: CacheSpec,
    chain: nn.Sequential,
    share: Iterable[tuple[slice, Tensor]],
    *,
    rank: int,
    workers: int,
) -> ActivationCache:
    """Open a cache; fill it first if it is incomplete.

    Several workers must call this together, in a process group. Another run that needs the same
    cache waits until it is complete.

    Args:
        spec: Where the cache is and what it holds.
        chain: The teacher's chain, which computes the activations.
        share: What this worker fills: consecutive rows with their images, (B, C, H, W).
        rank: This worker's rank.
        workers: The number of workers.

    Returns:
        The complete cache.

    Raises:
        CacheError: If the cache is damaged or cannot be written.
    """
    with _locked(spec, rank, workers) as lock:
        if spec.is_complete:
            if lock is not None:
                lock.release()
            return ActivationCache.load(spec)
        cache = ActivationCache.create(spec)
        fill_cache(cache, chain, share)
        cache.flush()
        _wait(workers)
        if rank == 0:
            cache.finish()
        return cache


@contextmanager
def _locked(spec: CacheSpec, rank: int, workers: int) -> Iterator[FileLock | None]:
    """Let rank 0 lock the cache, and create its arrays if it is incomplete, before all go on."""
    lock = FileLock(spec.folder / "lock") if rank == 0 else None
    try:
        if lock is not None:
            _acquire(spec, lock)
            if not spec.is_complete:
                ActivationCache.create(spec)
        _wait(workers)
        yield lock
    finally:
        if lock is not None:
            lock.release()


def _acquire(spec: CacheSpec, lock: FileLock) -> None:
    try:
        spec.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise CacheError(f"the cache '{spec.folder}' cannot be opened: {error}.") from error


def _wait(workers: int) -> None:
    if workers > 1:
        dist.barrier()


@torch.no_grad()
def fill_cache(
    cache: ActivationCache, chain: nn.Sequential, share: Iterable[tuple[slice, Tensor]]
) -> None:
    """Run the teacher over batches of images and store the activations at the cache's boundaries.

    Args:
        cache: A cache that is open for writing.
        chain: The teacher's chain.
        share: Consecutive rows, and their images (B, C, H, W) with B no less than their number.
    """
    last = max(cache.arrays)
    for rows, images in share:
        x = images
        for position in range(last + 1):
            if position in cache.arrays:
                cache.write(position, rows, x[: rows.stop - rows.start])
            if position < last:
                x = chain[position](x)
