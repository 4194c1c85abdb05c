"""The comparison of runs in the terminal: tables below each other that fit its width."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from rich.table import Table

from pbkd.report.compare import compare_notes, compare_rows
from pbkd.report.console.display import open_console

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pbkd.runs.finished import Finished

__all__ = ["show_comparison"]

_WIDTH = 100  # without a terminal
_GAP = 2
_WIDEST_NAME = 30


def show_comparison(runs: Sequence[Finished]) -> None:
    """Print the table of runs, in parts that fit the terminal, the reasons and the commands."""
    console = open_console()
    width = console.width if console.is_terminal else _WIDTH
    heads, rows = compare_rows(runs)
    for part in _parts(list(zip(heads, *rows, strict=True)), width):
        console.print(_table(part, width))
        console.print()
    for note in compare_notes(runs):
        console.print("\n".join(textwrap.wrap(note, width, break_on_hyphens=False)))
    for run in runs:
        console.print(f"{run.name}:\n{_folded(run.result.command, width)}")


def _parts(columns: list[tuple[str, ...]], width: int) -> Iterator[list[tuple[str, ...]]]:
    """Divide columns among tables, each of which begins with the first column."""
    first, *others = columns
    start = min(_WIDEST_NAME, max(map(len, first)))
    part, used = [first], start
    for column in others:
        needed = _GAP + max(map(len, column))
        if used + needed > width and len(part) > 1:
            yield part
            part, used = [first], start
        part.append(column)
        used += needed
    yield part


def _table(columns: Sequence[tuple[str, ...]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), width=None)
    room = max(1, width - _GAP - min(_WIDEST_NAME, max(map(len, columns[0]))))
    for index, (head, *_) in enumerate(columns):
        most = room if index else _WIDEST_NAME
        justify = "right" if index else "left"
        table.add_column(head, justify=justify, overflow="fold", max_width=most)  # type: ignore[arg-type]
    for cells in list(zip(*columns, strict=True))[1:]:
        table.add_row(*cells)
    return table


def _folded(command: str, width: int) -> str:
    """Break a command between its words, so that a shell still takes it whole."""
    lines = [" "]
    for word in map(shlex.quote, shlex.split(command)):
        if len(lines[-1]) + 1 + len(word) > width - 2 and lines[-1].strip():
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return "\n".join(lines)
