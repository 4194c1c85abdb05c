"""Tables of schedulers that are compared on the same workers, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.planning.comparison import imbalance
from pbkd.planning.prediction import Prediction, fastest
from pbkd.report.console.display import open_console, print_wide
from pbkd.report.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.planning.comparison import Comparison
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Unpredicted

__all__ = ["show_comparisons"]

_HEADS = ("workers", "scheduler", "feed", "takes", "over the bound", "imbalance")


def show_comparisons(table: CostTable, comparisons: Sequence[Comparison]) -> None:
    """Print the costs, a row for every scheduler and number of workers, bounds and the fastest."""
    console = open_console()
    steps = f"{table.workload.steps:,} steps"
    console.print(f"costs: {table.about}; {len(table.costs)} blocks, {steps} each")
    rows = [_cells(row, each, table) for each in comparisons for row in each.rows]
    failed = not all(isinstance(row, Prediction) for each in comparisons for row in each.rows)
    print_wide((*_HEADS, "why not") if failed else _HEADS, rows, left=0)
    for comparison in comparisons:
        best = fastest(comparison.rows)
        names = ", ".join(row.scheduler for row in best)
        said = f"fastest: {names} ({duration(best[0].seconds)})" if best else "no schedule"
        console.print(
            f"{len(comparison.workers):,} worker(s), {_speeds(comparison)}: {said};"
            f" no schedule takes less than {duration(comparison.least_seconds)}"
        )


def _speeds(comparison: Comparison) -> str:
    speeds = [worker.speed for worker in comparison.workers]
    low, high = min(speeds), max(speeds)
    return f"speed {low:g}" if low == high else f"speeds {low:g} to {high:g}"


def _cells(
    row: Prediction | Unpredicted, comparison: Comparison, table: CostTable
) -> tuple[str, ...]:
    count = f"{len(comparison.workers):,}"
    if not isinstance(row, Prediction):
        return (count, row.scheduler, *[""] * (len(_HEADS) - 2), row.reason)
    return (
        count,
        row.scheduler,
        row.schedule.feed,
        duration(row.seconds),
        f"{row.seconds / comparison.least_seconds:.2f}x",
        f"{100 * imbalance(row, table.costs):.0f} %",
    )
