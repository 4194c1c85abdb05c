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
    "converted",
    "differences",
    "encode_weights",
    "fingerprint",
    "first_names",
    "fit_weights",
    "halved",
    "other_types",
    "read_tensors",
    "read_weights",
    "write_weights",
]

COUNTER = "num_batches_tracked"
"""The end of the names of BatchNorm's counters, which evaluation does not use."""
_CHECKSUM = "sha256"
_UNREADABLE = (
    SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError,
)  # fmt: skip
_MAX_HEADER = 2**23  # bytes: names and shapes of about 100,000 tensors


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file that pbkd wrote, whose checksum is required.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing, damaged, without a checksum, or does not match it.
    """
    tensors, checksum = _read(path)
    if checksum is None:
        raise WeightsError(
            f"'{path}' has no checksum, so pbkd did not write it, or it is damaged: take the file"
            " that pbkd wrote."
        )
    return tensors


def read_tensors(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Read a safetensors file that any program wrote.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU; and whether the file has a checksum, as files of pbkd have.

    Raises:
        WeightsError: If the file is missing, damaged, or does not match the checksum that it has.
    """
    tensors, checksum = _read(path)
    return tensors, checksum is not None


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically and with a checksum."""
    write_file(path, encode_weights(tensors))


def encode_weights(tensors: Mapping[str, Tensor]) -> bytes:
    """Return what `write_weights` writes; it depends on names and tensors alone."""
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return save(plain, {_CHECKSUM: _digest(plain)})


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


def converted(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to the types of a network's: floats by rounding, integers if they stay equal.

    Args:
        tensors: Tensors by name.
        wanted: The network's tensors by name.

    Returns:
        Tensors by name; those that cannot be converted are the same.
    """
    return {
        name: _as_type(tensor, wanted[name].dtype) if name in wanted else tensor
        for name, tensor in tensors.items()
    }


def _as_type(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.dtype == dtype or tensor.is_complex() or dtype.is_complex:
        return tensor
    result = tensor.to(dtype)
    if dtype.is_floating_point:
        return result if tensor.is_floating_point() else tensor
    return result if torch.equal(result.to(tensor.dtype), tensor) else tensor


def fit_weights(module: nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a network.

    BatchNorm's `num_batches_tracked` may be missing, as in files older than torch 0.4.1, and
    floating-point weights may be in half precision, as `halved` rounds them.

    Args:
        module: The network.
        weights: Tensors by name.
        source: The origin of the weights, for the error message.

    Raises:
        WeightsError: If names, shapes or types differ, it names the first of them; or if the
            network uses one tensor under two names for which the weights are not equal.
    """
    wanted = module.state_dict()
    misfits = differences(wanted, weights) or other_types(wanted, weights)
    if misfits:
        raise WeightsError(f"'{source}' does not fit the network; {'; '.join(misfits)}.")
    counters = {key: wanted[key] for key in wanted if key.endswith(COUNTER)}
    module.load_state_dict({**counters, **weights})
    loaded = module.state_dict()
    changed = [key for key in weights if not _equal(loaded[key], weights[key])]
    if changed:
        raise WeightsError(
            f"'{source}' does not fit the network, which keeps in one tensor what the file has with"
            f" different values: {first_names(changed)}."
        )


def other_types(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Describe tensors that have neither the network's type nor the one that `halved` gives.

    Args:
        wanted: The network's tensors by name.
        weights: Other tensors by name, of the same names.

    Returns:
        A clause with the first names; nothing if there are none.
    """
    other = [
        f"{name} {_type_name(tensor)} instead of {_type_name(wanted[name])}"
        for name, tensor in weights.items()
        if tensor.dtype != wanted[name].dtype
        and not (tensor.dtype == torch.float16 and wanted[name].is_floating_point())
    ]
    return [f"of another type: {first_names(other)}"] if other else []


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _equal(loaded: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor was loaded; NaN equals NaN."""
    stored = loaded.cpu()
    read = tensor.to(stored.dtype)
    return torch.equal(stored, read) or bool(
        ((stored == read) | ((stored != stored) & (read != read))).all()
    )


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


def _read(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Read a safetensors file; return its tensors, and its checksum if it has one."""
    if not path.is_file():
        raise WeightsError(f"there is no file of weights '{path}'.")
    try:
        with path.open("rb") as start:
            header = int.from_bytes(start.read(8), "little")
        if _MAX_HEADER < header < path.stat().st_size:
            raise WeightsError(f"'{path}' holds too many tensors or names that are too long.")
        return _read_safetensors(path)
    except WeightsError:
        raise
    except _UNREADABLE as error:
        raise WeightsError(f"'{path}' is not a whole safetensors file ({error}).") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    with safe_open(path, framework="pt") as file:
        # Copies: the file is mapped into memory, and a program that writes to it changes them.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        checksum = (file.metadata() or {}).get(_CHECKSUM)
    if checksum is not None and checksum != _digest(tensors):
        raise WeightsError(f"'{path}' is damaged: its checksum does not hold, so make it anew.")
    return tensors, checksum


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
