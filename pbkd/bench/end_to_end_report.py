"""Output of the benchmark of whole runs: table, ratios, Amdahl's prediction, JSON and CSV."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING

from pbkd.bench.cross_checks import TOLERANCE
from pbkd.bench.end_to_end import ALONE, PAPER, TOGETHER
from pbkd.core.files import write_file, write_json
from pbkd.errors import BenchError
from pbkd.report.console.display import open_console, print_table
from pbkd.report.csv_text import csv_text

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.bench.end_to_end import EndToEnd
    from pbkd.bench.result import Spread

__all__ = ["check_whole_predictions", "phase_rows", "show_end_to_end", "write_end_to_end"]

_HEADS = ("phase", PAPER, ALONE, TOGETHER, f"{ALONE} / {TOGETHER}", "predicted, 2 workers")


def phase_rows(result: EndToEnd) -> list[tuple[str, ...]]:
    """Return a row per phase and one of the whole run: median seconds and ratios of the rounds."""
    procedures = result.procedures
    rows = []
    for phase in procedures[ALONE].phases:
        seconds = [statistics.median(procedures[name].phases[phase]) for name in procedures]
        ratio = result.ratio(ALONE, TOGETHER, phase).median if seconds[-1] else None
        predicted = procedures[TOGETHER].predicted.get(phase)
        rows.append(
            (
                phase,
                *(f"{each:.2f}" for each in seconds),
                "" if ratio is None else f"{ratio:.2f}x",
                f"{statistics.median(predicted):.2f}" if predicted else "",
            )
        )
    wholes = [statistics.median(times.seconds) for times in procedures.values()]
    whole = result.ratio(ALONE, TOGETHER).median
    return [*rows, ("whole run", *(f"{each:.2f}" for each in wholes), f"{whole:.2f}x", "")]


def show_end_to_end(result: EndToEnd) -> None:
    """Print the table, the speed-ups of whole runs, and what Amdahl's law gives."""
    console = open_console()
    print_table(console, _HEADS, phase_rows(result), left={0})
    for slow, fast in ((ALONE, TOGETHER), (PAPER, ALONE), (PAPER, TOGETHER)):
        console.print(f"{fast} over {slow}: {_spread(result.ratio(slow, fast))}")
    console.print(
        f"parallel: {100 * result.parallel_share:.1f} % of the run on one worker; by Amdahl's law"
        f" two are at most {result.expected_speedup:.2f}x as fast"
    )
    for name, times in result.procedures.items():
        console.print(f"{name}: predicted {100 * times.off:+.1f} % off, without planning")


def write_end_to_end(result: EndToEnd, folder: Path) -> None:
    """Write `result.json`, with the seconds of every round, and `phases.csv`."""
    figures = {
        "parallel_share": result.parallel_share,
        "expected_speedup": result.expected_speedup,
        "speedup": asdict(result.ratio(ALONE, TOGETHER)),
        "over_paper": asdict(result.ratio(PAPER, TOGETHER)),
    }
    write_json(folder / "result.json", {**asdict(result), **figures})
    write_file(folder / "phases.csv", csv_text([_HEADS, *phase_rows(result)]).encode())


def check_whole_predictions(result: EndToEnd) -> None:
    """Check that the prediction of each procedure is what was measured.

    Raises:
        BenchError: The predicted seconds of a whole run differ by more than a quarter.
    """
    if wrong := [name for name, each in result.procedures.items() if abs(each.off) > TOLERANCE]:
        raise BenchError(
            f"predicted and measured seconds of {', '.join(wrong)} differ by more than"
            f" {TOLERANCE:.0%}: repeat the benchmark on an idle machine, with more rounds."
        )


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f}x ({spread.least:.2f} to {spread.most:.2f})"
