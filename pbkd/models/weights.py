"""Files of weights: safetensors with a checksum, atomic writing, fingerprints."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pbkd.core.files import write_file
from pbkd.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn


__all__ = [
    "COUNTER",
    "differences",
    "fingerprint",
    "first_names",
    "fit_weights",
    "halved",
    "read_weights",
    "write_weights",
]

COUNTER = "num_batches_tracked"
"""The end of the names of BatchNorm's counters, which evaluation does not use."""
_CHECKSUM = "sha256"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing, damaged, or does not match its checksum.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file of weights '{path}'.")
    try:
        return _read_safetensors(path)
    except WeightsError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"'{path}' is not a whole safetensors file ({error}).") from error


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically and with a checksum."""
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    write_file(path, save(plain, {_CHECKSUM: _digest(plain)}))


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round floating-point tensors to half precision; `fit_weights` converts them back.

    Raises:
        WeightsError: If a value is too large for half precision.
    """
    rounded = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in rounded.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"'{name}' holds numbers too large for half precision.")
    return rounded


def fit_weights(module: nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a network.

    BatchNorm's `num_batches_tracked` may be missing, as in files older than torch 0.4.1.

    Args:
        module: The network.
        weights: Tensors by name.
        source: The origin of the weights, for the error message.

    Raises:
        WeightsError: If names or shapes differ; it names the first of them.
    """
    wanted = module.state_dict()
    if misfits := differences(wanted, weights):
        raise WeightsError(f"'{source}' does not fit the network; {'; '.join(misfits)}.")
    counters = {key: wanted[key] for key in wanted if key.endswith(COUNTER)}
    module.load_state_dict({**counters, **weights})


def differences(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Describe in what weights differ from a network's; `COUNTER` may be missing.

    Args:
        wanted: The network's tensors by name.
        weights: Other tensors by name.

    Returns:
        A clause for each kind of difference, with the first names; empty if they fit.
    """
    missing = [key for key in wanted if key not in weights and not key.endswith(COUNTER)]
    extra = [key for key in weights if key not in wanted]
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    parts = {"missing": missing, "not in the network": extra, "of another shape": shapes}
    return [f"{what}: {first_names(names)}" for what, names in parts.items() if names]


def first_names(names: Sequence[str], count: int = 3) -> str:
    """Join the first names, and say how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def fingerprint(module: nn.Module) -> str:
    """Compute the SHA-256 of a network's weights and buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected = (file.metadata() or {}).get(_CHECKSUM)
    if expected is not None and expected != _digest(tensors):
        raise WeightsError(f"'{path}' is damaged: its checksum does not hold, so make it anew.")
    return tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
