"""The blocks of a result as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from pbkd.config.options import choice_text
from pbkd.core.results import BlockResult

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["blocks_csv"]


def blocks_csv(blocks: Sequence[BlockResult]) -> str:
    """Return the results of blocks as CSV, a row per block and a column per field.

    Shapes are written as 3x32x32, losses with spaces between; missing figures are empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(
        text, [field.name for field in fields(BlockResult)], lineterminator="\n"
    )
    writer.writeheader()
    for block in blocks:
        writer.writerow({name: _cell(name, value) for name, value in asdict(block).items()})
    return text.getvalue()


def _cell(name: str, value: Any) -> Any:
    if name == "builder":
        return choice_text(value)
    if isinstance(value, (tuple, list)):
        return ("x" if name.endswith("shape") else " ").join(map(str, value))
    return value
