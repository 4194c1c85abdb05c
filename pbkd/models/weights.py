"""Files of weights: reading without running pickled code, atomic writing, fingerprints."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pbkd.core.files import write_file
from pbkd.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn


__all__ = ["fingerprint", "fit_weights", "halved", "read_weights", "write_weights"]

_CHECKSUM = "sha256"
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, or a state dict saved by torch, without running pickled code.

    A state dict inside a checkpoint's `state_dict` or `model` is unwrapped, and the prefix
    `module.` of DataParallel removed.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing, no state dict, or does not match its checksum.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file of weights '{path}'.")
    try:
        if path.suffix == ".safetensors":
            loaded: Any = _read_safetensors(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except SafetensorError as error:
        raise WeightsError(f"'{path}' is not a whole safetensors file ({error}).") from error
    except Exception as error:
        raise WeightsError(
            f"'{path}' cannot be read as plain weights ({type(error).__name__}): save"
            " model.state_dict(), or use safetensors."
        ) from error
    return _unwrapped(loaded, path)


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
    counters = {key: wanted[key] for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in weights and key not in counters]
    extra = [key for key in weights if key not in wanted]
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    parts = {"missing": missing, "not in the network": extra, "of another shape": shapes}
    differences = [f"{what}: {_first(names)}" for what, names in parts.items() if names]
    if differences:
        raise WeightsError(f"'{source}' does not fit the network; {'; '.join(differences)}.")
    module.load_state_dict({**counters, **weights})


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


def _unwrapped(loaded: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and torch.is_tensor(value) for key, value in loaded.items()
    ):
        raise WeightsError(f"'{path}' holds no state dict (names to tensors).")
    parallel = all(key.startswith("module.") for key in loaded)
    return {key.removeprefix("module.") if parallel else key: v for key, v in loaded.items()}


def _first(names: list[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
