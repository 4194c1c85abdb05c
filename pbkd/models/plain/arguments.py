"""Arguments of operations as JSON: what JSON lacks is a dictionary of one key, its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from pbkd.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["decode", "dtype_of", "encode"]

_LARGEST = 1.7976931348623157e308


def encode(value: Any) -> Any:
    """Write an argument of an operation.

    Raises:
        ExportError: If it has no form in JSON.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if -_LARGEST <= value <= _LARGEST else {"float": str(value)}
    if type(value) is list:
        return [encode(item) for item in value]
    for kind, (cls, write) in _WRITERS.items():
        if isinstance(value, cls):
            return {kind: write(value)}
    raise ExportError(f"a network with an argument {value!r} cannot be written.")


_WRITERS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "node": (fx.Node, lambda node: node.name),
    "tuple": (tuple, lambda items: [encode(item) for item in items]),
    "list": (list, lambda items: [encode(item) for item in items]),
    "dict": (dict, lambda items: {str(key): encode(item) for key, item in items.items()}),
    "slice": (slice, lambda cut: [encode(part) for part in (cut.start, cut.stop, cut.step)]),
    "dtype": (torch.dtype, lambda dtype: str(dtype).removeprefix("torch.")),
    "memory_format": (torch.memory_format, lambda form: str(form).removeprefix("torch.")),
    "ellipsis": (type(Ellipsis), lambda _: True),
}


def decode(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """Read what `encode` wrote, from untrusted data.

    Args:
        value: An argument.
        nodes: The operations so far, by name.

    Raises:
        ValueError: If it is damaged.
    """
    if isinstance(value, list):
        return [decode(item, nodes) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind not in _READERS:
        raise ValueError(f"an argument is of the unknown kind '{kind}'")
    return _READERS[kind](content, nodes)


def dtype_of(name: Any) -> torch.dtype:
    """Return the dtype of this name; raise `ValueError` if there is none."""
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"there is no dtype '{name}'")
    return dtype


_FORMATS = {
    str(form).removeprefix("torch."): form
    for form in (torch.channels_last, torch.contiguous_format, torch.preserve_format)
}
_READERS: dict[str, Callable[[Any, Mapping[str, fx.Node]], Any]] = {
    "node": lambda name, nodes: nodes[name],
    "tuple": lambda items, nodes: tuple(decode(item, nodes) for item in items),
    "list": lambda items, nodes: [decode(item, nodes) for item in items],
    "dict": lambda items, nodes: {key: decode(item, nodes) for key, item in items.items()},
    "slice": lambda parts, nodes: slice(*(decode(part, nodes) for part in parts)),
    "dtype": lambda name, _: dtype_of(name),
    "memory_format": lambda name, _: _FORMATS[name],
    "ellipsis": lambda _content, _: Ellipsis,
    "float": lambda text, _: float(text),
}
