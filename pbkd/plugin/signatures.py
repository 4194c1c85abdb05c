"""What a plugin's function takes: arguments that pbkd passes only where the signature asks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["accepts"]

_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def accepts(function: Callable[..., object], name: str) -> bool:
    """Whether a function takes an argument by keyword.

    Args:
        function: The function, method or callable object; annotations need not be resolvable.
        name: The keyword.

    Returns:
        True for a parameter of that name that can be passed by keyword, and for `**keywords`;
        False if the signature cannot be read, as of some functions that are written in C.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    found = parameters.get(name)
    if found is not None and found.kind in _BY_KEYWORD:
        return True
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
