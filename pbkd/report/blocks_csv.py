"""The blocks of a result as CSV."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from pbkd.config.options import choice_text
from pbkd.core.results import BlockResult
from pbkd.report.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["blocks_csv"]


def blocks_csv(blocks: Sequence[BlockResult]) -> str:
    """Return the results of blocks as CSV, a row per block and a column per field.

    Shapes are written as 3x32x32, losses with spaces between; missing figures are empty.
    """
    heads = [field.name for field in fields(BlockResult)]
    rows = ([_cell(name, asdict(block)[name]) for name in heads] for block in blocks)
    return csv_text([heads, *rows])


def _cell(name: str, value: Any) -> Any:
    if name == "builder":
        return choice_text(value)
    if isinstance(value, (tuple, list)):
        return ("x" if name.endswith("shape") else " ").join(map(str, value))
    return value
