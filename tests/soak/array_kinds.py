"""Files of arrays that may be hostile: weights, checkpoints, caches, archives, pictures."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pbkd_npz import NpzSource
from PIL import Image

from pbkd.core.blocks import Block
from pbkd.data.image_decoding import ImageDecoder
from pbkd.models.checkpoint_files import read_checkpoint
from pbkd.models.weights import fit_weights, read_weights, write_weights
from pbkd.training.activation_cache import ActivationCache, CacheSpec
from pbkd.training.cache_filling import fill_cache
from pbkd.training.checkpoint import CheckpointStore
from tests.soak.kind import Kind, two_layers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ARRAY_KINDS"]

_BLOCKS = [Block("one", 0, (2, 3, 3), (3, 2, 2)), Block("two", 1, (3, 2, 2), (2, 1, 1))]
_ROWS, _EPOCH = 3, 2


def _make_weights(path: Path) -> None:
    write_weights(path, two_layers().state_dict())


def _read_weights(path: Path) -> None:
    network = two_layers()
    fit_weights(network, read_weights(path), path)
    _check_equal(network.state_dict())


def _make_pickle(path: Path) -> None:
    torch.save({"state_dict": two_layers().state_dict(), "epoch": 3}, path)


def _make_old_pickle(path: Path) -> None:
    torch.save(two_layers().state_dict(), path, _use_new_zipfile_serialization=False)


def _read_pickle(path: Path) -> None:
    read_checkpoint(path)  # files of torch have no checksum, so the numbers may be others


def _make_checkpoint(path: Path) -> None:
    kept = CheckpointStore(path.parent / "store", "block")
    kept.write(_EPOCH, two_layers().state_dict(), {"losses": [0.5]})
    shutil.copyfile(kept.path(_EPOCH), path)


def _read_checkpoint(path: Path) -> None:
    kept = CheckpointStore(path.parent / "store", "block")
    shutil.copyfile(path, kept.path(_EPOCH))
    try:
        tensors, facts = kept.read(_EPOCH)
    finally:
        assert kept.readable() in ([], [_EPOCH])
    _check_equal(tensors)
    assert facts["losses"] == [0.5]


def _check_equal(found: Any) -> None:
    wanted = two_layers().state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted), "silently other weights"


def _make_cache(path: Path) -> None:
    """Write the cache beside the path, and its two first files as one to the path."""
    cache = ActivationCache.create(CacheSpec(path.parent / "cache", _BLOCKS, _ROWS))
    images = torch.arange(_ROWS * 18, dtype=torch.float32).view(_ROWS, 2, 3, 3)
    fill_cache(cache, two_layers(), [(slice(0, _ROWS), images)])
    cache.finish()
    mark, first, *_ = _cache_files(path)
    path.write_bytes(mark.read_bytes() + first.read_bytes())


def _cache_files(path: Path) -> list[Path]:
    folder = path.parent / "cache"
    return [folder / "complete.json", *sorted(folder.glob("boundary-*.bin"))]


def _read_cache(path: Path) -> None:
    mark, *arrays = _cache_files(path)
    whole = [file.read_bytes() for file in (mark, *arrays)]
    content, size = path.read_bytes(), len(whole[0])
    mark.write_bytes(content[:size])
    arrays[0].write_bytes(content[size:])
    try:
        cache = ActivationCache.load(CacheSpec(mark.parent, _BLOCKS, _ROWS))
        found = [bytes(array.data) for array in cache.arrays.values()]
        assert found == whole[1:], "silently other activations"
    finally:
        for file, before in zip((mark, *arrays), whole, strict=True):
            file.write_bytes(before)


def _make_npz(path: Path) -> None:
    images, labels = np.arange(9 * 64, dtype=np.uint8).reshape(9, 8, 8), np.arange(9) % 3
    np.savez_compressed(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


def _read_npz(path: Path) -> None:
    NpzSource(str(path), validation=0.3).load()


def _make_picture(form: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        stream = io.BytesIO()
        Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(stream, form)
        path.write_bytes(stream.getvalue())

    return make


def _read_picture(path: Path) -> None:
    assert ImageDecoder(8).read(str(path)).shape == (3, 8, 8)


ARRAY_KINDS = {
    "cache": Kind("cache.bin", _make_cache, _read_cache),
    "checkpoint": Kind("checkpoint", _make_checkpoint, _read_checkpoint),
    "gif": Kind("a.gif", _make_picture("GIF"), _read_picture),
    "jpeg": Kind("a.jpg", _make_picture("JPEG"), _read_picture),
    "npz": Kind("a.npz", _make_npz, _read_npz),
    "old pickle": Kind("a.pth", _make_old_pickle, _read_pickle),
    "pickle": Kind("a.pt", _make_pickle, _read_pickle),
    "png": Kind("a.png", _make_picture("PNG"), _read_picture),
    "tiff": Kind("a.tif", _make_picture("TIFF"), _read_picture),
    "weights": Kind("a.safetensors", _make_weights, _read_weights),
    "webp": Kind("a.webp", _make_picture("WEBP"), _read_picture),
}
