"""Layers of `torch.nn` as a name and plain options, from which they can be built again."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build_layer", "layer_options"]

_COMPOSED = (
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict, nn.RNNBase,
    nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder,
)  # fmt: skip
"""They hold other modules, as many as an option says."""


def layer_options(layer: nn.Module) -> dict[str, Any] | None:
    """Return the arguments that build an equal layer, apart from its weights.

    Args:
        layer: Any module.

    Returns:
        The arguments that differ from their defaults; None if it is not one of torch's own layers,
        has hooks, or cannot be built from its attributes.
    """
    if not _is_layer(type(layer)):
        return None
    if "forward" in vars(layer) or layer._forward_hooks or layer._forward_pre_hooks:
        return None
    options: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(layer).__init__).parameters.items():
        if name in ("self", "device", "dtype") or parameter.kind in _VARIADIC:
            continue
        value = getattr(layer, name, parameter.default)
        if name == "bias":
            value = value is not None and value is not False
        if isinstance(value, (list, torch.Size)):
            value = tuple(value)
        if not _is_plain(value):
            return None
        if not _is_default(value, parameter.default):
            options[name] = value
    return options if _is_equal(layer, options) else None


def _is_default(value: Any, default: Any) -> bool:
    """Whether a value is the default; a layer keeps a number for all axes as a tuple."""
    if isinstance(value, tuple) and not isinstance(default, tuple):
        return bool(value) and set(value) == {default}
    return type(value) is type(default) and bool(value == default)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def build_layer(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Build a layer of `torch.nn` without memory for its weights, on the device `meta`.

    Args:
        name: The name of its class, perhaps from an untrusted file.
        options: Its arguments.

    Raises:
        ValueError: If there is no such layer, or it does not take these arguments.
    """
    kind: Any = getattr(nn, name, None)
    if not _is_layer(kind):
        raise ValueError(f"there is no layer '{name}'")
    try:
        with torch.device("meta"):
            layer: nn.Module = kind(**options)
    except Exception as error:  # torch's layers check their arguments in ways of their own
        raise ValueError(f"a layer {name} cannot be built so") from error
    return layer


def _is_layer(kind: Any) -> bool:
    """Whether a class is one of torch's layers, not composed of others."""
    if not isinstance(kind, type) or not issubclass(kind, nn.Module) or kind is nn.Module:
        return False
    named: Any = vars(nn).get(kind.__name__)
    return named is kind and not issubclass(kind, _COMPOSED)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _is_equal(layer: nn.Module, options: Mapping[str, Any]) -> bool:
    """Whether a layer of these options has the same weights and buffers by name and shape."""
    try:
        built = build_layer(type(layer).__name__, options)
    except ValueError:
        return False
    shapes = [
        {name: tensor.shape for name, tensor in [*m.named_parameters(), *m.named_buffers()]}
        for m in (layer, built)
    ]
    return shapes[0] == shapes[1]
