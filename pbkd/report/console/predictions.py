"""Tables and Gantt charts of predicted schedules in the terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table

from pbkd.core.files import write_file
from pbkd.planning.prediction import Prediction, fastest, serial_seconds
from pbkd.planning.timeline import timeline
from pbkd.report.console.display import open_console
from pbkd.report.gantt import gantt_svg
from pbkd.report.gantt_text import gantt_text
from pbkd.report.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.core.schedule import Worker
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Unpredicted

__all__ = ["show_gantt", "show_predictions"]

_HEADS = ("workers", "scheduler", "feed", "takes", "speed-up", "idle", "moved a step", "in total")
_LEFT = ("scheduler", "feed", "why not")


def show_predictions(
    table: CostTable, worker: Worker, rows: Sequence[Prediction | Unpredicted]
) -> None:
    """Print the assumptions, a row for every scheduler, and the fastest for each worker count."""
    console = open_console()
    steps = f"{table.workload.steps:,} steps"
    console.print(f"costs: {table.about}; {len(table.costs)} blocks, {steps} each")
    serial = duration(serial_seconds(table.costs, worker, table.workload))
    console.print(f"the paper's procedure on one worker, a job for each block: {serial}")
    console.print(f"links between workers: {decimal(int(worker.bandwidth))} per second")
    failed = not all(isinstance(row, Prediction) for row in rows)
    console.print(_table((*_HEADS, "why not") if failed else _HEADS, [_cells(r) for r in rows]))
    for count, group in groupby(rows, key=lambda row: len(row.workers)):
        best = fastest(list(group))
        if best:
            names = ", ".join(row.scheduler for row in best)
            figures = f"{duration(best[0].seconds)}, {best[0].speedup:.2f}x"
            console.print(f"fastest on {count} worker(s): {names} ({figures})")


def show_gantt(row: Prediction, table: CostTable, svg: Path | None) -> None:
    """Print the Gantt chart of a prediction, and write it to the file `svg`, unless None."""
    console = open_console()
    bars = timeline(row.schedule, table.costs, row.workers, table.workload)
    names = [cost.name for cost in table.costs]
    count = len(row.workers)
    title = f"{row.scheduler} on {count} worker(s): {duration(row.seconds)}"
    console.print(f"\n{title}")
    for line in gantt_text(bars, count, names, row.seconds):
        console.print(line)
    if svg:
        picture = gantt_svg(bars, count, names, row.seconds, title, table.about)
        write_file(svg, picture.encode())
        console.print(f"drawn in {svg}")


def _cells(row: Prediction | Unpredicted) -> tuple[str, ...]:
    count = str(len(row.workers))
    if not isinstance(row, Prediction):
        return (count, row.scheduler, "", "", "", "", "", "", row.reason)
    return (
        count,
        row.scheduler,
        row.schedule.feed,
        duration(row.seconds),
        f"{row.speedup:.2f}x",
        f"{100 * row.idle:.0f} %",
        decimal(row.step_bytes),
        decimal(row.total_bytes),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        justify = "left" if head in _LEFT else "right"
        table.add_column(head, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    return table
