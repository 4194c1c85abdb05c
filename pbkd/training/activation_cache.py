"""The teacher's activations on disk: written once, read ever after.

A cache holds what flows over the chain's boundaries (the input of the segment at a position) for
every image, a row each, as memory-mapped arrays with channels last. It is keyed by all
that decides its content, and a checksum of each array tells a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.distributed as dist
from filelock import FileLock

from pbkd.core.files import read_json, write_json
from pbkd.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from typing_extensions import Buffer

    from pbkd.core.blocks import Block
    from pbkd.training.feeds import Lessons


__all__ = ["Cache", "boundaries", "cache_bytes", "cache_key", "cached", "fill", "open_cache"]

_Array = np.memmap[tuple[int, ...], np.dtype[Any]]
_MARK = "complete.json"


def boundaries(blocks: Iterable[Block]) -> dict[int, tuple[int, ...]]:
    """Return the positions whose activations the blocks need, and the shape of a sample there."""
    shapes: dict[int, tuple[int, ...]] = {}
    for block in blocks:
        shapes[block.position] = block.input_shape
        shapes[block.position + 1] = block.output_shape
    return dict(sorted(shapes.items()))


def cache_bytes(blocks: Iterable[Block], rows: int, dtype: torch.dtype = torch.float32) -> int:
    """Return the size of a cache of so many rows: a row is one view of one image."""
    return rows * sum(prod(shape) for shape in boundaries(blocks).values()) * dtype.itemsize


def cache_key(facts: Mapping[str, object]) -> str:
    """Return the name of the cache that these facts decide: teacher, data, views, cut."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Cache:
    """An open cache: an array of (rows, *sample) at each boundary, the bits of `dtype`."""

    folder: Path
    arrays: Mapping[int, _Array]
    dtype: torch.dtype = torch.float32

    @classmethod
    def create(
        cls,
        folder: Path,
        blocks: Iterable[Block],
        rows: int,
        dtype: torch.dtype = torch.float32,
    ) -> Cache:
        """Open a cache for writing, with its arrays at full size; raises `CacheError`."""
        return cls._open(folder, boundaries(blocks), rows, "r+", dtype)

    @classmethod
    def load(
        cls,
        folder: Path,
        blocks: Iterable[Block],
        rows: int,
        dtype: torch.dtype = torch.float32,
    ) -> Cache:
        """Open a finished cache; raises `CacheError` where it is unfinished or damaged."""
        sums = read_json(folder / _MARK)
        if not isinstance(sums, dict):
            raise CacheError(f"'{folder / _MARK}' is damaged: delete '{folder}'.")
        cache = cls._open(folder, boundaries(blocks), rows, "r", dtype)
        for position, array in cache.arrays.items():
            if sums.get(str(position)) != _checksum(array):
                raise CacheError(f"'{_path(folder, position)}' is damaged: delete '{folder}'.")
        return cache

    def finish(self) -> None:
        """Write everything to disk, and then the checksums that mark the cache as complete."""
        for array in self.arrays.values():
            array.flush()
        sums = {str(position): _checksum(array) for position, array in self.arrays.items()}
        write_json(self.folder / _MARK, sums)

    def write(self, position: int, rows: slice, activation: Tensor) -> None:
        """Store an activation, (B, C, …), in a run of rows."""
        array = self.arrays[position]
        array[rows] = _bits(_last(activation).contiguous().cpu()).numpy()

    def read(self, position: int, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        """Return the activations of some rows, (B, C, …), as a channels-last tensor."""
        return _first(torch.from_numpy(self.arrays[position][rows]).view(self.dtype))

    @classmethod
    def _open(
        cls,
        folder: Path,
        shapes: Mapping[int, Sequence[int]],
        rows: int,
        mode: str,
        dtype: torch.dtype,
    ) -> Cache:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(
                folder,
                {
                    position: _array(
                        _path(folder, position),
                        (rows, *_channels_last(shape)),
                        mode,
                        _bits(torch.empty(0, dtype=dtype)).numpy().dtype,
                    )
                    for position, shape in shapes.items()
                },
                dtype,
            )
        except (OSError, ValueError) as error:
            raise CacheError(f"the cache '{folder}' cannot be opened: {error}.") from error


def open_cache(
    folder: Path,
    blocks: Sequence[Block],
    rows: int,
    chain: nn.Sequential,
    share: Iterable[tuple[slice, Tensor]],
    *,
    rank: int,
    workers: int,
    dtype: torch.dtype = torch.float32,
) -> Cache:
    """Return the cache of so many rows of `chain`'s activations; fill it where it is unfinished.

    Every worker fills its `share`: runs of rows with their images; several must call this
    together, in a process group. Another run that wants the same cache waits until it is
    finished. A damaged cache raises `CacheError`.
    """
    lock = FileLock(folder / "lock")
    try:
        if rank == 0:
            _prepare_folder(folder, lock)
            if not (folder / _MARK).exists():
                Cache.create(folder, blocks, rows, dtype)
        _wait(workers)
        if (folder / _MARK).exists():
            lock.release()
            return Cache.load(folder, blocks, rows, dtype)
        cache = Cache.create(folder, blocks, rows, dtype)
        fill(cache, chain, share)
        for array in cache.arrays.values():
            array.flush()
        _wait(workers)
        if rank == 0:
            cache.finish()
        return cache
    finally:
        lock.release()


def _prepare_folder(folder: Path, lock: FileLock) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise CacheError(f"the cache '{folder}' cannot be opened: {error}.") from error


def _wait(workers: int) -> None:
    if workers > 1:
        dist.barrier()


@torch.no_grad()
def fill(cache: Cache, chain: nn.Sequential, share: Iterable[tuple[slice, Tensor]]) -> None:
    """Run the teacher over batches of images; write what its boundaries show to their rows."""
    last = max(cache.arrays)
    for where, batch in share:
        x = batch
        for position in range(last + 1):
            if position in cache.arrays:
                count = where.stop - where.start
                cache.write(position, where, x[:count])
            if position < last:
                x = chain[position](x)


def cached(
    cache: Cache, blocks: Sequence[Block], batches: Iterable[Tensor], device: torch.device
) -> Iterator[Lessons]:
    """Feed a job from the cache; `batches` gives the rows of each batch."""
    for rows in batches:
        yield _lessons(cache, blocks, rows.numpy(), device)


def _lessons(
    cache: Cache,
    blocks: Sequence[Block],
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    device: torch.device,
) -> Lessons:
    at: dict[int, Tensor] = {}
    for block in blocks:
        for position in (block.position, block.position + 1):
            if position not in at:
                at = {p: t for p, t in at.items() if p >= block.position}
                at[position] = cache.read(position, rows).to(device, non_blocking=True)
        yield block.name, at[block.position], at[block.position + 1]
    return at[block.position], at[block.position + 1]


def _array(path: Path, shape: tuple[int, ...], mode: str, dtype: np.dtype[Any]) -> _Array:
    size = prod(shape) * dtype.itemsize
    if mode == "r+":
        with path.open("ab") as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # a disk that is full kills who writes to a hole
                os.posix_fallocate(file.fileno(), 0, size)
    elif path.stat().st_size != size:
        raise ValueError(f"'{path.name}' has {path.stat().st_size} bytes instead of {size}")
    return np.memmap(path, dtype, mode, shape=shape)  # type: ignore[call-overload,no-any-return]


def _bits(x: Tensor) -> Tensor:
    """Return the same memory as a type that NumPy has: it has no bfloat16."""
    return x if x.dtype == torch.float32 else x.view(torch.int16)


def _checksum(array: _Array) -> int:
    return zlib.crc32(cast("Buffer", array.view(np.uint8).reshape(-1)))


def _path(folder: Path, position: int) -> Path:
    return folder / f"boundary-{position}.bin"


def _channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[1:], shape[0])


def _last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)
