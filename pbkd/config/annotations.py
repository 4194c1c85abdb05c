"""Types of parameters, resolved one by one, so that a name that is missing affects one alone."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


__all__ = ["resolve_annotation"]

Scope = tuple["Mapping[str, Any]", "Mapping[str, Any]"]


def resolve_annotation(
    target: Callable[..., Any], parameter: inspect.Parameter
) -> tuple[Any, str | None]:
    """Resolve the annotation of a parameter.

    Args:
        target: The class or function that has the parameter.
        parameter: The parameter, as `inspect.signature` gives it.

    Returns:
        The type, and None; for an annotation that cannot be resolved `Any`, and the reason.
    """
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any, None
    reason = ""
    for global_names, local_names in _scopes(target, parameter.name):
        try:
            return _evaluated(annotation, global_names, local_names), None
        except Exception as error:  # the annotation is the plugin's code
            reason = reason or str(error)
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return Any, f"its annotation {written} cannot be resolved ({reason})"


def _evaluated(annotation: Any, global_names: Any, local_names: Any) -> Any:
    holder = SimpleNamespace(__annotations__={"": annotation})
    kind = typing.get_type_hints(holder, global_names, local_names)[""]
    if isinstance(kind, dataclasses.InitVar):
        kind = kind.type
    return getattr(kind, "__supertype__", kind)  # that of a NewType


def _scopes(target: Any, name: str) -> Iterator[Scope]:
    """Yield the names that an annotation may use: global and local ones."""
    if isinstance(target, functools.partial):
        yield from _scopes(target.func, name)
    elif isinstance(target, type):
        for base in target.__mro__:
            if name in inspect.get_annotations(base):
                yield vars(sys.modules.get(base.__module__, SimpleNamespace())), vars(base)
        yield from _scopes(target.__init__, name)  # type: ignore[misc]
    else:
        function = inspect.unwrap(target)
        function = getattr(function, "__func__", function)  # of a bound method
        if not hasattr(function, "__globals__"):
            function = type(target).__call__
        yield getattr(function, "__globals__", {}), {}
