"""A Gantt chart of a schedule as text."""

from __future__ import annotations

import string
import textwrap
from typing import TYPE_CHECKING

from pbkd.report.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.planning.timeline import Bar

__all__ = ["BAR_KINDS", "gantt_text", "letters", "wrap_items"]

BAR_KINDS = {
    "teacher": "teacher pass",
    "training": "training",
    "transfer": "sending, receiving",
    "cache": "writing the cache",
}
"""The kinds of bars, with their names in legends."""
_LETTERS = string.ascii_uppercase + string.ascii_lowercase
_MARKS = {"teacher": ".", "transfer": "~", "cache": "+"}
_TEXT_COLUMNS = 60


def letters(blocks: Sequence[str]) -> dict[str, str]:
    """Return a letter for each block, in order; they repeat after 52 blocks."""
    return {name: _LETTERS[index % len(_LETTERS)] for index, name in enumerate(blocks)}


def gantt_text(
    bars: Sequence[Bar], workers: int, blocks: Sequence[str], seconds: float
) -> list[str]:
    """Return the chart as lines: one per worker, then the time axis and the key.

    A column shows the bar at its middle, so bars shorter than a column may be invisible.

    Args:
        bars: The bars, worker by worker.
        workers: Number of workers, each of which gets a line.
        blocks: Names of all blocks, in chain order.
        seconds: The time at the right end.
    """
    marks = letters(blocks)
    label = len(f"worker {workers - 1}")
    lanes = [[" "] * _TEXT_COLUMNS for _ in range(workers)]
    for bar in bars:
        mark = marks[bar.block] if bar.block else _MARKS[bar.kind]
        start, end = (_column(time, seconds) for time in (bar.start, bar.start + bar.seconds))
        lanes[bar.worker][start:end] = [mark] * (end - start)
    rows = [f"{f'worker {worker}':{label}} |{''.join(lane)}|" for worker, lane in enumerate(lanes)]
    scale = f"{'':{label}} 0 s{duration(seconds):>{_TEXT_COLUMNS - 1}}"
    seen = "".join(rows)
    key = [f"{mark} {BAR_KINDS[kind]}" for kind, mark in _MARKS.items() if mark in seen]
    names = [f"{mark} {name}" for name, mark in marks.items()]
    return [*rows, scale, *wrap_items([*names, *key], label + _TEXT_COLUMNS + 3)]


def wrap_items(items: Sequence[str], columns: int) -> list[str]:
    """Join items by commas into lines of at most `columns`; lines break between items."""
    joined = ", ".join(item.replace(" ", "\N{NO-BREAK SPACE}") for item in items)
    lines = textwrap.wrap(joined, columns, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _column(time: float, seconds: float) -> int:
    return min(_TEXT_COLUMNS, round(_TEXT_COLUMNS * time / seconds))
