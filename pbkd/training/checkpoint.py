"""Checkpoints: the state of a training after an epoch, in files with checksums."""

from __future__ import annotations

import json
import math
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pbkd.core.files import write_file
from pbkd.errors import CheckpointError
from pbkd.training.optimiser_state import pack_state, unpack_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor
    from typing_extensions import Buffer

    from pbkd.training.learner import Learner


__all__ = [
    "STEPS_BETWEEN",
    "CheckpointStore",
    "Facts",
    "is_checkpoint_due",
    "restore",
    "snapshot",
    "tensors_below",
]


def is_checkpoint_due(epoch: int, epochs: int, steps_per_epoch: int) -> bool:
    """Whether to write a checkpoint after an epoch: at least 100 steps apart.

    The rule does not depend on time, so that all workers keep the same epochs. After the last epoch
    the result itself is written instead.

    Args:
        epoch: Number of finished epochs.
        epochs: Number of all epochs.
        steps_per_epoch: Steps per epoch.
    """
    every = math.ceil(STEPS_BETWEEN / steps_per_epoch)
    return epoch % every == 0 and epoch < epochs


@dataclass(frozen=True)
class CheckpointStore:
    """The last two checkpoints of one training, as safetensors files.

    Attributes:
        folder: Their folder.
        name: What their file names start with.
        damaged: Gets a sentence for each damaged file.
    """

    folder: Path
    name: str
    damaged: Callable[[str], None] = lambda _why: None

    def path(self, epoch: int) -> Path:
        """Return the path of the checkpoint after `epoch` epochs."""
        return self.folder / f"{self.name}.{epoch}.safetensors"

    def epochs(self) -> list[int]:
        """List the epochs that have a file, newest first."""
        pattern = re.compile(re.escape(self.name) + r"\.(\d+)\.safetensors")
        files = self.folder.iterdir() if self.folder.is_dir() else ()
        matches = [match[1] for file in files if (match := pattern.fullmatch(file.name))]
        return sorted(map(int, matches), reverse=True)

    def write(self, epoch: int, tensors: Mapping[str, Tensor], facts: Facts) -> None:
        """Write a checkpoint and keep the one before it: the workers of a relay are not in step."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({**facts, "of": self._identity(epoch)})
        metadata = {"facts": text, "checksum": _checksum(plain, text)}
        write_file(self.path(epoch), save(plain, metadata))
        earlier = [other for other in self.epochs() if other < epoch]
        for other in self.epochs():
            if other != epoch and other not in earlier[:1]:
                with suppress(OSError):
                    self.path(other).unlink()

    def read(self, epoch: int) -> tuple[dict[str, Tensor], Facts]:
        """Read a checkpoint back.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = self.path(epoch)
        if not path.is_file():  # a pipe would be waited for
            raise CheckpointError(f"there is no file '{path}'.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["checksum"] != _checksum(tensors, metadata["facts"]):
                raise CheckpointError(f"'{path}' is damaged: its checksum is another.")
            facts: Facts = json.loads(metadata["facts"])
            if facts.pop("of") != self._identity(epoch):
                raise CheckpointError(f"'{path}' is the checkpoint of another training or epoch.")
            return tensors, facts
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"'{path}' is not a whole checkpoint ({error}).") from error

    def _identity(self, epoch: int) -> list[object]:
        return [self.folder.name, self.name, epoch]

    def readable(self) -> list[int]:
        """List the epochs whose checkpoints are undamaged, newest first."""
        undamaged = []
        for epoch in self.epochs():
            try:
                self.read(epoch)
            except CheckpointError as error:
                if self.path(epoch).exists():  # else its worker is ahead and has deleted it
                    self.damaged(str(error))
            else:
                undamaged.append(epoch)
        return undamaged


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        flat = tensors[name].reshape(-1)
        total = zlib.crc32(f"{name} {flat.dtype} {tuple(tensors[name].shape)}".encode(), total)
        total = zlib.crc32(cast("Buffer", flat.view(torch.uint8).numpy()), total)
    return f"{total:08x}"


STEPS_BETWEEN = 100
"""Minimum number of training steps between two checkpoints."""
Facts = dict[str, Any]


def snapshot(training: Learner) -> tuple[dict[str, Tensor], Facts]:
    """Return the state of a training, for `restore`; the tensors are not copied."""
    tensors = {
        f"network.{name}": tensor for name, tensor in training.replacement.state_dict().items()
    }
    state, packed = pack_state(training.optimiser)
    facts = {
        "optimiser": packed,
        "rate_steps": training.rate.last_epoch,
        "scaler": training.scaler.state_dict(),
    }
    return {**tensors, **state}, facts


def restore(tensors: Mapping[str, Tensor], facts: Facts, training: Learner) -> None:
    """Put a training into the state of a snapshot; it continues bit-identically.

    Raises:
        CheckpointError: The snapshot is of another optimiser.
    """
    training.replacement.load_state_dict(tensors_below(tensors, "network."))
    try:
        _restore_optimiser(training.optimiser, unpack_state(facts["optimiser"], tensors))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"a checkpoint is of another optimiser ({error}).") from error
    groups = training.optimiser.param_groups
    training.rate.base_lrs = [group["initial_lr"] for group in groups]
    training.rate.last_epoch = facts["rate_steps"]
    if facts["scaler"]:
        training.scaler.load_state_dict(facts["scaler"])


def _restore_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for index, moments in state["state"].items():
        if isinstance(index, int):
            moments |= {key: _laid_out(saved, parameters[index]) for key, saved in moments.items()}
    built = optimiser.state_dict()["param_groups"]
    groups = [{**one, **saved} for one, saved in zip(built, state["param_groups"], strict=True)]
    optimiser.load_state_dict({**state, "param_groups": groups})


def tensors_below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names start with `prefix`, and strip it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _laid_out(saved: Any, parameter: Tensor) -> Any:
    """Copy an optimiser moment to its parameter's memory layout, as fused kernels require."""
    if not isinstance(saved, torch.Tensor) or saved.shape != parameter.shape:
        return saved
    return torch.empty_like(parameter, dtype=saved.dtype).detach().copy_(saved)
