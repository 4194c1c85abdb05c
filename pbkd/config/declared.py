"""Conversion of configured values towards the types that options declare."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import chain, repeat
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pbkd.config.yaml_values import scalar, structure, written

__all__ = ["as_declared", "without_paths"]


def as_declared(kind: Any, value: Any) -> Any:
    """Convert a configured value towards the type of its option.

    Text is taken as it is written, so that `0123`, `on` and `[a]` are names of files; where None is
    allowed too, `null` and nothing are None. Whether the result has the type, omegaconf checks.

    Args:
        kind: The declared type; `Any` if it is unknown.
        value: The value, as `read_argument` or `lossless` gives it.

    Returns:
        The value, converted as far as the type tells how.
    """
    kind, may_be_none = _without_none(kind)
    if kind in (str, Path):
        text = written(value)
        return None if may_be_none and value in (None, "") else value if text is None else text
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value
    if isinstance(value := structure(value), str):
        return scalar(value)
    if isinstance(value, (list, tuple)):
        return [as_declared(*pair) for pair in zip(_elements(kind), value, strict=False)]
    if isinstance(value, Mapping):
        element = get_args(kind)[1] if get_origin(kind) is dict else Any
        return {key: as_declared(element, child) for key, child in value.items()}
    return value


def _without_none(kind: Any) -> tuple[Any, bool]:
    """Separate the type from None: `str | None` is `str`, with None."""
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return (kinds[0] if len(kinds) == 1 else Any), NoneType in get_args(kind)


def _elements(kind: Any) -> Iterable[Any]:
    """Return the types of a sequence's elements, without end."""
    kinds = get_args(kind)
    if get_origin(kind) is tuple and kinds[-1:] != (Ellipsis,):
        return chain(kinds, repeat(Any))
    return repeat(kinds[0] if kinds else Any)


def without_paths(tree: Any) -> Any:
    """Replace the path objects in lists and mappings by their text."""
    if isinstance(tree, Mapping):
        return {key: without_paths(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [without_paths(value) for value in tree]
    return os.fspath(tree) if isinstance(tree, os.PathLike) else tree
