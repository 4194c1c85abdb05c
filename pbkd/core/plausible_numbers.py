"""The ranges of the numbers in events, which may be untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["is_plausible"]

_RANGES = {
    "accuracy": (0.0, 1.0),
    "solo_drop": (-1.0, 1.0),
    "interval": (-1.0, 1.0),
    "off": (-1.0, 1e15),
}
_MOST = 1e15  # bytes, seconds since 1970, watts


def is_plausible(name: str, value: Any) -> bool:
    """Return whether the numbers in a field are finite and in range; losses may be anything."""
    if name in ("loss", "losses", "plan"):
        return True
    if is_dataclass(value):
        return all(is_plausible(f.name, getattr(value, f.name)) for f in fields(value))
    if isinstance(value, Mapping):
        return all(is_plausible(name, child) for child in value.values())
    if isinstance(value, tuple):
        return all(is_plausible(name, child) for child in value)
    low, high = _RANGES.get(name, (0.0, _MOST))
    return not isinstance(value, (int, float)) or low <= value <= high
