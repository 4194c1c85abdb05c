"""Tables as CSV, of which no cell is a formula for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from pbkd.core.terminal_text import terminal_text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["csv_text"]

# A spreadsheet calculates a cell that begins like this, in some also in full width.
_FORMULA = re.compile(r"[\s\"'`]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\n]")
_NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?: ?%)?|inf|nan)"
_NUMBERS = re.compile(f"{_NUMBER}(?: {_NUMBER})*")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Write rows as CSV.

    Args:
        rows: The rows, the heads among them. None is an empty cell.

    Returns:
        The text. Control characters are stripped; an apostrophe stands before text that a
        spreadsheet would take for a formula, but not before numbers.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = terminal_text(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBERS.fullmatch(text) else text
