"""Columns of comparisons: a figure of a run, in a table and in CSV."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.runs.finished import Finished

__all__ = ["Column", "Value", "interval_ends", "percent", "seconds", "times"]

Value = str | float | None


@dataclass(frozen=True)
class Column:
    """A figure of a run.

    Attributes:
        name: Its name in CSV; None if not in CSV.
        head: Its heading in the table; None if not in the table.
        write: Formats it for the table.
        value: Returns it for a run; None if not measured.
    """

    name: str | None
    head: str | None
    write: Callable[[Any], str]
    value: Callable[[Finished], Value]


def interval_ends(name: str, interval: Callable[[Finished], Any]) -> Iterator[Column]:
    """Yield lower and upper end of an interval, for CSV."""
    for index, end in enumerate(("low", "high")):
        yield Column(f"{name}_{end}", None, str, partial(_end, interval, index))


def _end(interval: Callable[[Finished], Any], index: int, run: Finished) -> float | None:
    ends = interval(run)
    return None if ends is None else ends[index]


def times(ratio: float) -> str:
    """Format a ratio: `2.50x`."""
    return f"{ratio:.2f}x"


def percent(share: float) -> str:
    """Format a share in per cent, with two decimals."""
    return f"{100 * share:.2f} %"


def seconds(value: float) -> str:
    """Format seconds, with one decimal."""
    return f"{value:.1f}"
