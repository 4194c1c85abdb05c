"""The teacher's activations on disk: memory-mapped arrays with checksums.

A cache holds what flows over the chain's boundaries (the input of the segment at a position) for
every image, one row each, with channels last. Its key covers everything that decides its content,
and a checksum per array reveals damage.
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

from pbkd.core.files import flush_to_disk, read_json, write_json
from pbkd.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor
    from typing_extensions import Buffer

    from pbkd.core.blocks import Block


__all__ = ["ActivationCache", "CacheSpec", "boundaries", "cache_bytes", "cache_key"]

_Array = np.memmap[tuple[int, ...], np.dtype[Any]]
_MARK = "complete.json"


def boundaries(blocks: Iterable[Block]) -> dict[int, tuple[int, ...]]:
    """Return the positions whose activations the blocks need, and a sample's shape at each."""
    shapes: dict[int, tuple[int, ...]] = {}
    for block in blocks:
        shapes[block.position] = block.input_shape
        shapes[block.position + 1] = block.output_shape
    return dict(sorted(shapes.items()))


def cache_bytes(blocks: Iterable[Block], rows: int, dtype: torch.dtype = torch.float32) -> int:
    """Compute the size of a cache.

    Args:
        blocks: The blocks that are trained from it.
        rows: Views of images, one row each.
        dtype: The type of the activations.

    Returns:
        Its size in bytes.
    """
    return rows * sum(prod(shape) for shape in boundaries(blocks).values()) * dtype.itemsize


def cache_key(facts: Mapping[str, object]) -> str:
    """Return a cache's folder name: a digest of all that decides its content."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class CacheSpec:
    """Where a cache is and what it holds.

    Attributes:
        folder: Its folder, which is complete or absent.
        blocks: The blocks that are trained from it.
        rows: Views of images, one row each.
        dtype: The type of the activations.
        filling: Tells apart the folders in which several runs fill it; empty for the cache itself.
    """

    folder: Path
    blocks: Sequence[Block]
    rows: int
    dtype: torch.dtype = torch.float32
    filling: str = ""

    @property
    def path(self) -> Path:
        """Where its files are: beside the folder while it is filled."""
        if not self.filling:
            return self.folder
        return self.folder.with_name(f"{self.partial_name}.{self.filling}")

    @property
    def partial_name(self) -> str:
        """How the names of the folders begin in which it is filled."""
        return f".{self.folder.name}.partial"

    @property
    def is_complete(self) -> bool:
        """Whether the cache has been filled to its end."""
        return (self.folder / _MARK).is_file()


@dataclass(frozen=True)
class ActivationCache:
    """An open cache: an array of shape (rows, *sample) at each boundary, the bits of `dtype`."""

    spec: CacheSpec
    arrays: Mapping[int, _Array]

    @classmethod
    def create(cls, spec: CacheSpec) -> ActivationCache:
        """Open a cache for writing, with its arrays at full size.

        Raises:
            CacheError: If the folder cannot be written or the disk is full.
        """
        return cls._open(spec, "r+")

    @classmethod
    def load(cls, spec: CacheSpec) -> ActivationCache:
        """Open a complete cache for reading.

        Raises:
            CacheError: If it is incomplete or damaged.
        """
        sums = read_json(spec.folder / _MARK)
        if not isinstance(sums, dict):
            raise CacheError(f"'{spec.folder / _MARK}' is damaged: delete '{spec.folder}'.")
        cache = cls._open(spec, "r")
        for position, array in cache.arrays.items():
            if sums.get(str(position)) != _checksum(array):
                path = _path(spec.path, position)
                raise CacheError(f"'{path}' is damaged: delete '{spec.folder}'.")
        return cache

    def finish(self) -> None:
        """Write everything to disk, then the checksums; give the cache its name at last.

        Raises:
            CacheError: If the folder cannot be renamed.
        """
        self.flush()
        sums = {str(position): _checksum(array) for position, array in self.arrays.items()}
        path, folder = self.spec.path, self.spec.folder
        if not all(_path(path, position).is_file() for position in self.arrays):
            if self.spec.is_complete:  # another run has filled it, and deleted this one's files
                return
            raise CacheError(f"the cache '{folder}' was deleted while it was filled.")
        write_json(path / _MARK, sums)
        try:
            path.rename(folder)
        except OSError as error:
            if not self.spec.is_complete:  # else another run has filled it
                raise CacheError(f"the cache '{folder}' cannot be written: {error}.") from error
        flush_to_disk(folder.parent)

    def flush(self) -> None:
        """Write all activations to disk."""
        for array in self.arrays.values():
            array.flush()

    def write(self, position: int, rows: slice, activation: Tensor) -> None:
        """Store an activation, (B, C, …), in consecutive rows of a boundary."""
        array = self.arrays[position]
        array[rows] = _bits(_channels_last(activation).contiguous().cpu()).numpy()

    def read(self, position: int, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        """Read some rows of a boundary as a channels-last tensor, (B, C, …)."""
        return _channels_first(torch.from_numpy(self.arrays[position][rows]).view(self.spec.dtype))

    @classmethod
    def _open(cls, spec: CacheSpec, mode: str) -> ActivationCache:
        dtype = _bits(torch.empty(0, dtype=spec.dtype)).numpy().dtype
        try:
            spec.path.mkdir(parents=True, exist_ok=True)
            arrays = {
                position: _array(
                    _path(spec.path, position), (spec.rows, *shape[1:], shape[0]), mode, dtype
                )
                for position, shape in boundaries(spec.blocks).items()
            }
        except (OSError, ValueError) as error:
            raise CacheError(f"the cache '{spec.folder}' cannot be opened: {error}.") from error
        return cls(spec, arrays)


def _array(path: Path, shape: tuple[int, ...], mode: str, dtype: np.dtype[Any]) -> _Array:
    size = prod(shape) * dtype.itemsize
    if mode == "r+":
        with path.open("ab") as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # else a full disk kills the process later
                os.posix_fallocate(file.fileno(), 0, size)
    elif path.stat().st_size != size:
        raise ValueError(f"'{path.name}' has {path.stat().st_size} bytes instead of {size}")
    return np.memmap(path, dtype, mode, shape=shape)  # type: ignore[call-overload,no-any-return]


def _bits(x: Tensor) -> Tensor:
    """View the memory as a type that NumPy has: it has no bfloat16."""
    return x if x.dtype == torch.float32 else x.view(torch.int16)


def _checksum(array: _Array) -> int:
    return zlib.crc32(cast("Buffer", array.view(np.uint8).reshape(-1)))


def _path(folder: Path, position: int) -> Path:
    return folder / f"boundary-{position}.bin"


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)
