"""The methods of observers, each of which is optional: check that pbkd can call them."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

from pbkd.protocols import Observer

__all__ = ["observed_methods", "observer_fault"]

_SIGNATURES = {
    name: tuple(inspect.signature(member).parameters)[1:]
    for name, member in vars(Observer).items()
    if inspect.isfunction(member) and name[0] != "_"
}
"""The arguments of each method, without `self`."""
_UNAWAITED = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)
_ALIKE = 0.85


def observed_methods(observer: type) -> dict[str, Any]:
    """Return the methods of the protocol that a class has itself, by name."""
    return {name: method for name in _SIGNATURES if (method := _method(observer, name))}


def observer_fault(observer: type) -> str | None:
    """Find what keeps pbkd from calling a class of observers.

    Args:
        observer: The class.

    Returns:
        What is wrong with it; None if nothing is.
    """
    methods = observed_methods(observer)
    missing = [name for name in _SIGNATURES if name not in methods]
    for name, member in vars(observer).items():
        near = get_close_matches(name, missing, n=1, cutoff=_ALIKE)
        if near and inspect.isroutine(member) and name not in _SIGNATURES:
            return f"has a method {name}, which pbkd does not call: name it {near[0]}"
    if not methods:
        return f"has none of the methods {', '.join(_SIGNATURES)}"
    faults = (_fault(observer, name, method) for name, method in methods.items())
    return next(filter(None, faults), None)


def _method(observer: type, name: str) -> Any:
    """Return an attribute of a class, unless it is inherited from the protocol itself."""
    method = getattr(observer, name, None)
    return None if method is getattr(Observer, name) else method


def _fault(observer: type, name: str, method: Any) -> str | None:
    wanted = _SIGNATURES[name]
    call = f"{name}(self, {', '.join(wanted)})"
    if not callable(method):
        return f"has an attribute {name} that is not the method {call}"
    if any(is_kind(method) for is_kind in _UNAWAITED):
        return f"has an asynchronous method or generator {name}, which would not run: write {call}"
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # written in C
        return None
    owner = inspect.getattr_static(observer, name)
    unbound = ("self",) if inspect.isfunction(owner) else ()
    try:
        bound = signature.bind(*unbound, *wanted).arguments
    except TypeError:
        return f"has a method {name}{signature}, which must be {call}"
    swapped = [key for key, value in bound.items() if value != key and key in wanted]
    return f"has a method {name}{signature}, which must be {call}" if swapped else None
