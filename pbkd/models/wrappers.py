"""Wrappers that training leaves around a network or around parts of it, and copies without them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["copied", "unwrapped", "wrapped_module"]

# Looked up by name: importing the classes would load timm, lightning and torch.distributed.
_INNER = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
    "ModelEma": "ema",  # timm's, the first of them no module itself
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "EMA": "ema_model",  # ema-pytorch
    "_FabricModule": "_original_module",  # lightning
}


def wrapped_module(wrapper: Any) -> nn.Module | None:
    """Return the network that an object wraps; None if it is no known wrapper."""
    for base in type(wrapper).__mro__:
        inner = getattr(wrapper, _INNER.get(base.__name__, ""), None)
        if isinstance(inner, nn.Module):
            return inner
    return None


def unwrapped(network: Any) -> tuple[Any, list[str]]:
    """Remove the wrappers around a network.

    Args:
        network: A network, or what a training program keeps it in.

    Returns:
        The innermost network, or the object itself if it wraps none; and the names of the wrappers.
    """
    names: list[str] = []
    while (inner := wrapped_module(network)) is not None:
        names.append(type(network).__name__)
        network = inner
    return network, names


def copied(network: nn.Module) -> nn.Module:
    """Copy a network without the wrappers around its parts and without compiled code.

    Hooks are shared with the copy, not copied: they may belong to objects of any kind. Tensors
    computed from others, as weight normalisation and pruning keep them, are copied as values.
    """
    memo: dict[int, Any] = {}
    for module in network.modules():
        for hook in _hooks(module):
            memo[id(hook)] = hook
        for tensor in _tensors(vars(module)):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    _copy_wrapped(network, memo)
    copy_: nn.Module = copy.deepcopy(network, memo)
    return copy_


def _copy_wrapped(network: nn.Module, memo: dict[int, Any]) -> None:
    """Enter, for each wrapper of a part, a copy of that part as the wrapper's copy."""
    for child in network.children():
        inner, names = unwrapped(child)
        _copy_wrapped(inner, memo)
        if names:
            plain = copy.deepcopy(inner, memo)
            wrapper: Any = child
            while wrapper is not inner:
                memo[id(wrapper)] = plain
                wrapper = wrapped_module(wrapper)


def _hooks(module: nn.Module) -> Iterator[Any]:
    for name, value in vars(module).items():
        if name.endswith("_hooks") and isinstance(value, dict):
            yield from value.values()


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Find the tensors in attributes and in containers that they hold."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple, set)) and depth < 4:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item, depth + 1)
