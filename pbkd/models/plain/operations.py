"""The functions and tensor methods of which a plain network consists, by name."""

from __future__ import annotations

import operator
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import get_overridable_functions

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ATTRIBUTES", "functions", "is_method", "name_of"]

ATTRIBUTES = ("T", "mT", "shape", "dtype")
"""Attributes of tensors that a plain network may read."""

_OPERATORS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "neg", "pos", "getitem",
    "iadd", "isub", "imul", "itruediv", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "xor",
    "invert",
)  # fmt: skip
_UNSAFE = re.compile(r"fbgemm|quantize|miopen|mkldnn|_hook|storage|data_ptr|^map|^apply_|^set_$")
_PUBLIC = re.compile(r"[a-z][a-z0-9_]*")
_OWN_MODULES = ("torch", "torch.functional", "torch.nn.functional", "torch._C._nn", None)


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Return the functions that a plain network may call, by qualified name.

    They compute tensors from tensors; none reads files or runs other code.
    """
    named = {f"operator.{name}": getattr(operator, name) for name in _OPERATORS}
    named |= {
        f"torch.nn.functional.{name}": value
        for name, value in vars(functional).items()
        if _is_safe(name) and _computes(value)
    }
    overridable = get_overridable_functions()
    for module in (torch, torch.functional, torch.linalg, torch.special, torch.fft):
        prefix = "torch" if module is torch.functional else module.__name__
        for function in overridable.get(module, ()):
            name = getattr(function, "__name__", "")
            if getattr(module, name, None) is function and _is_safe(name):
                named.setdefault(f"{prefix}.{name}", function)
    return named


def _is_safe(name: str) -> bool:
    return bool(_PUBLIC.fullmatch(name)) and not _UNSAFE.search(name)


def _computes(value: Any) -> bool:
    if isinstance(value, type) or not callable(value):
        return False
    return getattr(value, "__module__", None) in _OWN_MODULES and "torch_function" not in str(value)


@cache
def _names() -> dict[Any, str]:
    return {function: name for name, function in reversed(functions().items())}


def name_of(function: Any) -> str | None:
    """Return the qualified name of a function of a plain network; None for any other."""
    try:
        return _names().get(function)
    except TypeError:  # it cannot be hashed
        return None


@cache
def _methods() -> frozenset[str]:
    methods = get_overridable_functions()[Tensor]
    names = {getattr(method, "__name__", "") for method in methods}
    return frozenset(filter(_is_safe, names))


def is_method(name: str) -> bool:
    """Whether a plain network may call this method of tensors."""
    return name in _methods()
