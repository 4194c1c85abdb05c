"""The teacher's activations on disk: written once, read ever after.

A cache holds what flows over the chain's boundaries (the input of the segment at a position) for
every image, a row each, as memory-mapped float32 arrays with channels last. It is keyed by all
that decides its content, and a checksum of each array tells a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.distributed as dist

from pbkd.errors import CacheError
from pbkd.journal import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from typing_extensions import Buffer

    from pbkd.feed import Lessons
    from pbkd.plan import Block
    from pbkd.prepare import Prepared

__all__ = ["Cache", "boundaries", "cache_bytes", "cache_key", "cached", "fill", "open_cache"]

_DTYPE = np.float32


def boundaries(blocks: Iterable[Block]) -> dict[int, tuple[int, ...]]:
    """Return the positions whose activations the blocks need, and the shape of a sample there."""
    shapes: dict[int, tuple[int, ...]] = {}
    for block in blocks:
        shapes[block.position] = block.input_shape
        shapes[block.position + 1] = block.output_shape
    return dict(sorted(shapes.items()))


def cache_bytes(blocks: Iterable[Block], rows: int) -> int:
    """Return the size of a cache of so many rows: a row is one view of one image."""
    return rows * sum(prod(shape) for shape in boundaries(blocks).values()) * _DTYPE().itemsize


def cache_key(facts: Mapping[str, object]) -> str:
    """Return the name of the cache that these facts decide: teacher, data, views, cut."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Cache:
    """An open cache: an array of (rows, *sample) at each boundary."""

    folder: Path
    arrays: Mapping[int, np.memmap[tuple[int, ...], np.dtype[np.float32]]]

    @classmethod
    def create(cls, folder: Path, blocks: Iterable[Block], rows: int) -> Cache:
        """Open a cache for writing, with its arrays at full size; raises `CacheError`."""
        return cls._open(folder, boundaries(blocks), rows, "r+")

    @classmethod
    def load(cls, folder: Path, blocks: Iterable[Block], rows: int) -> Cache:
        """Open a finished cache; raises `CacheError` where it is unfinished or damaged."""
        sums = read_json(folder / "complete.json")
        cache = cls._open(folder, boundaries(blocks), rows, "r")
        for position, array in cache.arrays.items():
            if sums.get(str(position)) != _checksum(array):
                raise CacheError(f"'{_path(folder, position)}' is damaged: delete '{folder}'.")
        return cache

    def finish(self) -> None:
        """Write everything to disk, and then the checksums that mark the cache as complete."""
        for array in self.arrays.values():
            array.flush()
        sums = {str(position): _checksum(array) for position, array in self.arrays.items()}
        write_json(self.folder / "complete.json", sums)

    def write(self, position: int, rows: slice, activation: Tensor) -> None:
        """Store an activation, (B, C, …), in a run of rows."""
        self.arrays[position][rows] = _last(activation).cpu().numpy()

    def read(self, position: int, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        """Return the activations of some rows, (B, C, …), as a channels-last tensor."""
        return _first(torch.from_numpy(self.arrays[position][rows]))

    @classmethod
    def _open(
        cls, folder: Path, shapes: Mapping[int, Sequence[int]], rows: int, mode: str
    ) -> Cache:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return cls(
                folder,
                {
                    position: _array(_path(folder, position), (rows, *_channels_last(shape)), mode)
                    for position, shape in shapes.items()
                },
            )
        except (OSError, ValueError) as error:
            raise CacheError(f"the cache '{folder}' cannot be opened: {error}.") from error


def open_cache(
    folder: Path,
    blocks: Sequence[Block],
    prepared: Prepared,
    batch_size: int,
    rank: int,
    workers: int,
) -> Cache:
    """Return the cache of the training split; where it is not finished, fill it.

    Every worker fills its share of the rows; several must call this together, in a process group.
    A damaged cache raises `CacheError`.
    """
    split = prepared.data.train
    if (folder / "complete.json").exists():
        return Cache.load(folder, blocks, len(split))
    if rank == 0:
        Cache.create(folder, blocks, len(split))
    _wait(workers)
    cache = Cache.create(folder, blocks, len(split))
    rows = torch.split(torch.arange(len(split)), batch_size)[rank::workers]
    images = (prepared.normalised(split.images(_whole(batch, batch_size))) for batch in rows)
    where = [slice(int(batch[0]), int(batch[-1]) + 1) for batch in rows]
    fill(cache, prepared.folded, images, where)
    for array in cache.arrays.values():
        array.flush()
    _wait(workers)
    if rank == 0:
        cache.finish()
    return cache


def _whole(rows: Tensor, batch_size: int) -> Tensor:
    """Repeat the last row up to a whole batch: kernels may round by the size of a batch."""
    return torch.cat([rows, rows[-1:].expand(batch_size - len(rows))])


def _wait(workers: int) -> None:
    if workers > 1:
        dist.barrier()


@torch.no_grad()
def fill(
    cache: Cache, chain: nn.Sequential, images: Iterable[Tensor], rows: Iterable[slice]
) -> None:
    """Run the teacher over batches of images; write what its boundaries show to their rows."""
    last = max(cache.arrays)
    for batch, where in zip(images, rows, strict=True):
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


def _array(
    path: Path, shape: tuple[int, ...], mode: str
) -> np.memmap[tuple[int, ...], np.dtype[np.float32]]:
    size = prod(shape) * _DTYPE().itemsize
    if mode == "r+":
        with path.open("ab") as file:
            file.truncate(size)
    elif path.stat().st_size != size:
        raise ValueError(f"'{path.name}' has {path.stat().st_size} bytes instead of {size}")
    return np.memmap(path, _DTYPE, mode, shape=shape)  # type: ignore[call-overload,no-any-return]


def _checksum(array: np.memmap[tuple[int, ...], np.dtype[np.float32]]) -> int:
    return zlib.crc32(cast("Buffer", array.view(np.uint8).reshape(-1)))


def _path(folder: Path, position: int) -> Path:
    return folder / f"boundary-{position}.f32"


def _channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[1:], shape[0])


def _last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)
