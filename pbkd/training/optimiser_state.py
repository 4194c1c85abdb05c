"""The state of an optimiser as named tensors and JSON, for checkpoints."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pbkd.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["pack_state", "unpack_state"]

_SCALARS = (bool, int, float, str, type(None))
_EXECUTION = ("params", "fused", "foreach", "capturable", "differentiable")
"""Entries of a group that say on what it is computed, and how."""
_TENSOR, _LIST, _TUPLE, _DICT = "tensor", "list", "tuple", "dict"


def pack_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Any]:
    """Separate the state of an optimiser into tensors and JSON.

    Args:
        optimiser: The optimiser.

    Returns:
        The tensors by a name that `unpack_state` finds them by, and the rest as plain data.

    Raises:
        CheckpointError: The state has a value that is neither a tensor, a number, text or None, nor
            a list, tuple or dictionary of these.
    """
    state = optimiser.state_dict()
    groups = [_storable(group) for group in state["param_groups"]]
    tensors: dict[str, Tensor] = {}
    return tensors, _pack({**state, "param_groups": groups}, tensors, ())


def _storable(group: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what `build` gives a group again: how it is computed, functions."""
    kept = {}
    for key, value in group.items():
        with suppress(CheckpointError):
            _pack(value, {}, ())
            kept[key] = value
    return {key: value for key, value in kept.items() if key not in _EXECUTION}


def _pack(tree: Any, tensors: dict[str, Tensor], path: tuple[object, ...]) -> Any:
    if isinstance(tree, Tensor) and tree.layout == torch.strided and not tree.is_quantized:
        name = f"optimiser.{len(tensors)}"
        tensors[name] = tree
        return {_TENSOR: name}
    if isinstance(tree, _SCALARS):
        return tree
    if type(tree) in (list, tuple):
        kind = _LIST if isinstance(tree, list) else _TUPLE
        return {kind: [_pack(value, tensors, (*path, i)) for i, value in enumerate(tree)]}
    if isinstance(tree, dict) and all(isinstance(key, (int, str)) for key in tree):
        return {_DICT: [[key, _pack(value, tensors, (*path, key))] for key, value in tree.items()]}
    where = ".".join(map(str, path))
    raise CheckpointError(f"its state has a {type(tree).__name__} at `{where}`")


def unpack_state(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put a packed state together again.

    Args:
        packed: The plain data of `pack_state`.
        tensors: The tensors by name.

    Raises:
        CheckpointError: The data is not from `pack_state`.
    """
    try:
        return _unpack(packed, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the state of an optimiser is damaged ({error}).") from error


def _unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(packed, _SCALARS):
        return packed
    ((kind, content),) = packed.items()
    if kind == _TENSOR:
        return tensors[content]
    if kind == _DICT:
        return {key: _unpack(value, tensors) for key, value in content}
    values = [_unpack(value, tensors) for value in content]
    return {_LIST: values, _TUPLE: tuple(values)}[kind]
