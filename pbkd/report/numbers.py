"""Formatted numbers and round axis values."""

from __future__ import annotations

import math

__all__ = ["duration", "round_step", "short", "ticks"]


def duration(seconds: float) -> str:
    """Format seconds with about three digits."""
    digits = 0 if seconds >= 100 else 1 if seconds >= 10 else 2 if seconds >= 0.1 else 4
    return f"{seconds:,.{digits}f} s"


def short(value: float) -> str:
    """Format a number with three digits and an SI prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g}"


def round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, … times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def ticks(least: float, most: float, count: int = 5) -> list[float]:
    """Return about `count` round values from `least` to `most` (larger than `least`)."""
    step = round_step((most - least) / count)
    first = math.ceil(least / step)
    return [index * step for index in range(first, math.floor(most / step) + 1)]
