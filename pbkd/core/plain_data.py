"""Conversion between dataclasses and plain data (JSON), driven by the annotated fields."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["IN_MEMORY", "finite", "from_plain", "to_plain"]

IN_MEMORY = {"in_memory": True}
"""Metadata of a dataclass field that is never converted; it needs a default."""

_MAX_INT = 2**63


def to_plain(value: Any) -> Any:
    """Convert a dataclass to a dict, and everything in it to dicts, lists and scalars.

    A field that has its default value is left out, and so is an `IN_MEMORY` field.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in _converted(value.__class__)
            if field.default is MISSING or getattr(value, field.name) != field.default
        }
    if isinstance(value, Mapping):
        return {key: to_plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(child) for child in value]
    return value


def from_plain(hint: Any, value: Any) -> Any:
    """Convert plain data to the type `hint`, and check it on the way.

    Args:
        hint: A dataclass, `bool`, `int`, `float`, `str`, `None`, or a union, `tuple[X, ...]`,
            `tuple[X, X]`, `Mapping[str, X]` or `dict[str, X]` of these; `Any` takes everything.
        value: Data as `json.loads` returns it, perhaps from an untrusted file.

    Returns:
        The converted value.

    Raises:
        ValueError: `value` is not of this type, has a key that its dataclass lacks, or is an
            integer of more than 64 bits.
    """
    origin = get_origin(hint)
    if is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value)
    if origin in (Union, UnionType):
        return _first_match(get_args(hint), value)
    if origin is tuple and isinstance(value, list):
        kind, *others = get_args(hint)
        if others == [...] or len(others) + 1 == len(value):
            return tuple(from_plain(kind, child) for child in value)
    if origin in (Mapping, dict) and isinstance(value, dict):
        return {key: from_plain(get_args(hint)[1], child) for key, child in value.items()}
    if hint is float and type(value) in (int, float):
        return _to_float(value)
    if hint in (bool, str, NoneType) and type(value) is hint:
        return value
    if hint is int and type(value) is int and abs(value) < _MAX_INT:
        return value
    if hint is Any:
        return value
    raise ValueError(f"not of type {hint}")


def finite(value: Any) -> Any:
    """Return plain data with null in place of the numbers that JSON lacks: NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _build(cls: Any, data: Mapping[str, Any]) -> Any:
    hints = _hints(cls)
    if unknown := data.keys() - hints.keys():
        raise ValueError(f"{cls.__name__} has no {', '.join(sorted(unknown))}")
    known = {
        field.name: from_plain(hints[field.name], data[field.name])
        for field in _converted(cls)
        if field.name in data
    }
    try:
        return cls(**known)
    except TypeError as error:
        raise ValueError(f"no {cls.__name__}: {error}") from error


def _first_match(hints: tuple[Any, ...], value: Any) -> Any:
    for hint in hints:
        try:
            return from_plain(hint, value)
        except ValueError:
            continue
    raise ValueError(f"not of the types {hints}")


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("too large for a float") from error


@cache
def _converted(cls: Any) -> tuple[Field[Any], ...]:
    return tuple(field for field in fields(cls) if not field.metadata.get("in_memory"))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """Return the types of the converted fields; others may name types that are not imported."""
    annotations = {field.name: field.type for field in _converted(cls)}
    holder = SimpleNamespace(__annotations__=annotations)
    return get_type_hints(holder, vars(sys.modules[cls.__module__]))
