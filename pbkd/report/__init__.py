"""A run's result as files in its folder: JSON, CSV, a Markdown card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.files import write_file, write_json
from pbkd.report.card import card
from pbkd.report.table import blocks_csv

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.results import RunResult

__all__ = ["write_report"]


def write_report(result: RunResult, folder: Path) -> None:
    """Write `result.json`, `blocks.csv` (a row a block) and, last, `README.md` (the model card)."""
    write_json(folder / "result.json", result.to_dict())
    write_file(folder / "blocks.csv", blocks_csv(result.blocks).encode())
    write_file(folder / "README.md", card(result).encode())
