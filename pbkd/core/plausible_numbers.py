"""The ranges of the numbers in events, results and baselines, which may be untrusted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["is_plausible"]

_MOST = 1e15  # bytes, seconds since 1970, watts
_SHARE, _DIFFERENCE, _ANY = (0.0, 1.0), (-1.0, 1.0), (-sys.float_info.max, sys.float_info.max)
_RANGES = {
    **dict.fromkeys(("accuracy", "accuracies", "agreement", "agreements"), _SHARE),
    **dict.fromkeys(("score", "validation"), _SHARE),
    **dict.fromkeys(("solo_drop", "difference", "interval", "solo_interval"), _DIFFERENCE),
    **dict.fromkeys(("teacher_fed_losses", "student_fed_losses", "solo_divergence"), _ANY),
    "above_idle": (-_MOST, _MOST),
    "off": (-1.0, _MOST),
    "batch": (1.0, _MOST),
    "reached": (-100.0, _MOST),
}
_NOT_CHECKED = ("loss", "losses", "plan", "builder")


def is_plausible(name: str, value: Any) -> bool:
    """Return whether the numbers in a field are finite and in range.

    The losses of events may be anything, and so may the options of a builder.
    """
    if name in _NOT_CHECKED:
        return True
    if is_dataclass(value):
        return all(is_plausible(f.name, getattr(value, f.name)) for f in fields(value))
    if isinstance(value, Mapping):
        return all(is_plausible(name, child) for child in value.values())
    if isinstance(value, tuple):
        return all(is_plausible(name, child) for child in value)
    low, high = _RANGES.get(name, (0.0, _MOST))
    return not isinstance(value, (int, float)) or low <= value <= high
