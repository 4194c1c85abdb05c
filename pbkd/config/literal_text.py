"""Text that omegaconf takes literally: neither `${…}` nor `???` has a meaning in it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["escape", "unescape"]

_MARK = "\N{WORD JOINER}"


def escape(value: Any) -> Any:
    """Mark the characters of all text in a value to which omegaconf gives a meaning.

    Args:
        value: Text, or a list, mapping or dataclass with text in it.

    Returns:
        A copy, which `unescape` turns back.
    """
    return _mapped(lambda text: text.replace("$", f"${_MARK}").replace("?", f"?{_MARK}"), value)


def unescape(value: Any) -> Any:
    """Remove the marks that `escape` made."""
    return _mapped(lambda text: text.replace(f"${_MARK}", "$").replace(f"?{_MARK}", "?"), value)


def _mapped(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Path):
        return Path(change(str(value)))
    if isinstance(value, dict):
        return {key: _mapped(change, child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(change, child) for child in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: _mapped(change, getattr(value, f.name)) for f in fields(value)}
        return replace(value, **changes)
    return value
