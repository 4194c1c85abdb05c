"""Predicted whole runs in the terminal: the seconds of every phase, and the part not parallel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.console.display import open_console, print_wide
from pbkd.report.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.planning.whole_run import WholeRun

__all__ = ["show_whole_runs"]


def show_whole_runs(runs: Sequence[WholeRun]) -> None:
    """Print a row for each number of workers, and the share of what only one worker does."""
    console = open_console()
    console.print("\nwhole run, with the fastest schedule of the teacher-fed phase:")
    heads = ("workers", "scheduler", *runs[0].phases, "whole run", "speed-up")
    print_wide(heads, [_cells(run) for run in runs], left=0)
    serial = runs[0].serial
    share = sum(serial.values()) / runs[0].seconds_alone
    console.print(
        f"not parallel: {duration(sum(serial.values()))} ({', '.join(serial)}), {100 * share:.1f} %"
        f" of the run on one worker: at most {1 / share:.1f}x"
    )


def _cells(run: WholeRun) -> tuple[str, ...]:
    return (
        f"{run.workers:,}",
        run.scheduler,
        *map(duration, run.phases.values()),
        duration(run.seconds),
        f"{run.speedup:.2f}x",
    )
