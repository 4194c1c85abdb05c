"""Keys of images, which are equal where two splits hold the same image of a program's data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from pbkd.data.batching import sequential_batches

if TYPE_CHECKING:
    from pbkd.data.datasets import Split

__all__ = ["content_keys", "dataset_keys", "object_key", "tensor_keys"]

_ADDRESS, _FILE = 0, 1


def dataset_keys(dataset: Any, rows: Tensor) -> Tensor:
    """Return the keys of rows of a map-style torch data set.

    Subsets and concatenations have the keys of the data sets that they are made of. torchvision's
    image folders are compared by their files, its other data sets by their settings and labels (two
    of them may have the same images, with other transforms), and data sets of tensors by these.

    Args:
        dataset: The data set.
        rows: Row numbers, int64 (N,).

    Returns:
        Keys, int64 (N,).
    """
    if isinstance(dataset, Subset):
        return dataset_keys(dataset.dataset, torch.as_tensor(dataset.indices)[rows])
    if isinstance(dataset, ConcatDataset):
        return _concatenated(dataset, rows)
    if isinstance(dataset, TensorDataset):
        return tensor_keys(dataset.tensors[0])[rows]
    paths = _paths(dataset)
    if paths is not None:
        return _mix(_FILE, torch.tensor([hash(paths[row]) for row in rows.tolist()]))
    same = _identity(dataset) if type(dataset).__module__.startswith("torchvision.") else None
    return _mix(id(dataset) if same is None else same, rows)


def tensor_keys(images: Tensor) -> Tensor:
    """Return the keys of the rows of a tensor: views of the same memory have the same keys."""
    rows = torch.arange(len(images))
    if not images.numel() or images.stride(0) == 0:
        return _mix(id(images), rows)
    return _mix(_ADDRESS, images.data_ptr() + rows * images.stride(0) * images.element_size())


def object_key(source: Any) -> Tensor:
    """Return the key of a source that has no rows, int64 (1,)."""
    return _mix(id(source), torch.tensor([-1]))


def content_keys(split: Split) -> Tensor:
    """Return the keys of images by their pixels, int64 (len(split),)."""
    digests = [
        hashlib.blake2b(image.numpy().tobytes(), digest_size=8).digest()
        for images, _ in sequential_batches(split, 256)
        for image in images
    ]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])


def _concatenated(dataset: ConcatDataset[Any], rows: Tensor) -> Tensor:
    ends = torch.tensor(dataset.cumulative_sizes)
    parts = torch.bucketize(rows, ends, right=True)
    keys = torch.zeros_like(rows)
    for number in torch.unique(parts).tolist():
        chosen = parts == number
        start = int(ends[number - 1]) if number else 0
        keys[chosen] = dataset_keys(dataset.datasets[number], rows[chosen] - start)
    return keys


def _identity(dataset: Any) -> int:
    """Return a number that is the same for data sets of one class with the same rows."""
    plain = (bool, int, float, str, Path)
    settings = sorted((k, str(v)) for k, v in vars(dataset).items() if isinstance(v, plain))
    digest = hashlib.blake2b(repr((type(dataset).__qualname__, settings)).encode(), digest_size=7)
    for name in ("targets", "labels", "_labels", "data"):
        values = getattr(dataset, name, None)
        if isinstance(values, (list, np.ndarray, Tensor)):
            some = values if name != "data" else values[:: max(1, len(values) // 100)]
            digest.update(str(len(values)).encode() + np.asarray(some).tobytes())
    return int.from_bytes(digest.digest(), "big")


def _paths(dataset: Any) -> list[str] | None:
    """Return the file of every row of an image folder of torchvision, if they are all different."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or not all(
        isinstance(sample, tuple) and sample and isinstance(sample[0], str) for sample in samples
    ):
        return None
    folder = f"{Path.cwd()}/"
    paths = [path if path.startswith("/") else folder + path for path, *_ in samples]
    return paths if len(set(paths)) == len(dataset) == len(paths) else None


def _mix(kind: int, numbers: Tensor) -> Tensor:
    """Combine a kind with numbers, int64; other kinds or numbers give other keys."""
    odd = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio, as in Fibonacci hashing
    offset = (kind * odd) & (2**64 - 1)
    return numbers + (offset - 2**64 if offset >= 2**63 else offset)
