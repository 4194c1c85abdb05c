"""Filling of the activation cache, by all workers of a run together."""

from __future__ import annotations

import secrets
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from filelock import FileLock

from pbkd.errors import CacheError
from pbkd.training.activation_cache import ActivationCache
from pbkd.training.exchange import exchange_device

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
    cache waits until it is complete. A cache appears under its name complete, with its checksums on
    disk.

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
    device = next((tensor.device for tensor in chain.parameters()), torch.device("cpu"))
    with _filled_by_us(spec, rank, workers, device) as filling:
        if filling is None:
            return ActivationCache.load(spec)
        cache = ActivationCache.create(filling)
        fill_cache(cache, chain, share)
        cache.flush()
        _wait(workers)
        if rank == 0:
            cache.finish()
        return cache


@contextmanager
def _filled_by_us(
    spec: CacheSpec, rank: int, workers: int, device: torch.device
) -> Iterator[CacheSpec | None]:
    """Yield where all workers are to fill the cache; None if it is complete.

    Rank 0 decides, holds the lock while the cache is filled, and has created its arrays before the
    others learn where they are. Each filling has a folder of its own: a worker whose run was killed
    may write for a while yet.
    """
    filling: CacheSpec | None = None
    with ExitStack() as stack:
        if rank == 0 and not spec.is_complete:
            stack.enter_context(_locked(spec))
            if not spec.is_complete:
                filling = stack.enter_context(_new_filling(spec))
        number = _from_rank_0(int(filling.filling) if filling else 0, workers, device)
        if number == 0:
            stack.close()
        yield replace(spec, filling=str(number)) if number else None


@contextmanager
def _locked(spec: CacheSpec) -> Iterator[None]:
    """Hold the cache's lock, which is beside its folder."""
    lock = FileLock(spec.folder.with_name(f".{spec.folder.name}.lock"))
    try:
        spec.folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise CacheError(f"the cache '{spec.folder}' cannot be opened: {error}.") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _new_filling(spec: CacheSpec) -> Iterator[CacheSpec]:
    """Create the arrays in a new folder; delete what it and killed runs leave."""
    _delete_partial(spec)
    try:
        if spec.folder.exists():
            shutil.rmtree(spec.folder)
    except OSError as error:
        raise CacheError(f"the cache '{spec.folder}' cannot be opened: {error}.") from error
    filling = replace(spec, filling=str(1 + secrets.randbits(62)))
    try:
        ActivationCache.create(filling)
        yield filling
    finally:
        _delete_partial(spec)


def _delete_partial(spec: CacheSpec) -> None:
    for folder in spec.folder.parent.glob(f"{spec.partial_name}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def _from_rank_0(number: int, workers: int, device: torch.device) -> int:
    """Return the number that rank 0 has, on every worker."""
    if workers > 1:
        shared = torch.tensor(number, device=exchange_device(device))
        dist.broadcast(shared, 0)
        number = int(shared)
    return number


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
