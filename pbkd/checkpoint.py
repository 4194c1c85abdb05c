"""Checkpoints: a training's state after an epoch, in a file that is whole or is not believed."""

from __future__ import annotations

import json
import math
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pbkd.errors import CheckpointError
from pbkd.journal import write_file
from pbkd.plan import STEPS_BETWEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor
    from typing_extensions import Buffer

    from pbkd.snapshot import Facts

__all__ = ["Shelf", "due"]


def due(epoch: int, epochs: int, steps_per_epoch: int) -> bool:
    """Whether to keep a checkpoint after so many epochs: at least 100 steps lie between two.

    The rule knows no clock, so that all workers keep the same epochs. After the last epoch the
    result itself is kept.
    """
    every = math.ceil(STEPS_BETWEEN / steps_per_epoch)
    return epoch % every == 0 and epoch < epochs


@dataclass(frozen=True)
class Shelf:
    """The last two checkpoints of one training, as safetensors in `folder`.

    `damaged` gets a sentence for each file that cannot be believed.
    """

    folder: Path
    name: str
    damaged: Callable[[str], None] = lambda _why: None

    def path(self, epoch: int) -> Path:
        """Return the file of the checkpoint after so many epochs."""
        return self.folder / f"{self.name}.{epoch}.safetensors"

    def epochs(self) -> list[int]:
        """Return the epochs that have a file, the newest first."""
        pattern = re.compile(re.escape(self.name) + r"\.(\d+)\.safetensors")
        files = self.folder.iterdir() if self.folder.is_dir() else ()
        found = [match[1] for file in files if (match := pattern.fullmatch(file.name))]
        return sorted(map(int, found), reverse=True)

    def write(self, epoch: int, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Keep this checkpoint and the one before it: workers in a relay are not all as far."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({**facts, "epoch": epoch})
        metadata = {"facts": text, "checksum": _checksum(plain, text)}
        write_file(self.path(epoch), save(plain, metadata))
        earlier = [other for other in self.epochs() if other < epoch]
        for other in self.epochs():
            if other != epoch and other not in earlier[:1]:
                self.path(other).unlink(missing_ok=True)

    def read(self, epoch: int) -> tuple[dict[str, Tensor], Facts]:
        """Return what `write` was given; raises `CheckpointError` unless every byte is."""
        path = self.path(epoch)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["checksum"] != _checksum(tensors, metadata["facts"]):
                raise CheckpointError(f"'{path}' is damaged: its checksum is another.")
            return tensors, json.loads(metadata["facts"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"'{path}' is not a whole checkpoint ({error}).") from error

    def readable(self) -> list[int]:
        """Return the epochs whose checkpoints can be believed, the newest first."""
        found = []
        for epoch in self.epochs():
            try:
                self.read(epoch)
            except CheckpointError as error:
                if self.path(epoch).exists():  # else its worker is ahead, and has newer ones
                    self.damaged(str(error))
            else:
                found.append(epoch)
        return found


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        flat = tensors[name].reshape(-1)
        total = zlib.crc32(f"{name} {flat.dtype} {tuple(tensors[name].shape)}".encode(), total)
        total = zlib.crc32(cast("Buffer", flat.view(torch.uint8).numpy()), total)
    return f"{total:08x}"
