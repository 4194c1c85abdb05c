"""`~` in the arguments of all verbs."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.core.files import user_path

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["with_home"]


def with_home(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that a leading `~` is expanded in each argument that is a path.

    Shells expand it in few places: not in `--out=~/x`, and not between quotes.

    Args:
        verb: The command's function.

    Returns:
        A function with the same signature.
    """

    @wraps(verb)
    def call(**arguments: Any) -> Any:
        return verb(**{name: _expanded(value) for name, value in arguments.items()})

    return call


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(part) for part in value]
    return user_path(value) if isinstance(value, Path) else value
