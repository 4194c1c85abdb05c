"""Output of benchmark results: table, JSON, CSV and plot."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from pbkd.core.files import write_file, write_json
from pbkd.report.console.display import open_console
from pbkd.report.csv_text import csv_text
from pbkd.report.markup import html_text
from pbkd.training.checkpoint import STEPS_BETWEEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pbkd.bench.result import BenchResult, ProcedureResult, Spread

__all__ = ["energy_lines", "plot", "rows", "show", "write"]

_HEADS = (
    "procedure",
    "s / 1,000 images",
    "min to max",
    "x serial",
    "CPU s",
    "peak MB / worker",
    "predicted s",
    "off by",
)


def write(result: BenchResult, folder: Path) -> None:
    """Write `result.json` and `procedures.csv`, with a row per procedure."""
    write_json(folder / "result.json", asdict(result))
    write_file(folder / "procedures.csv", csv_text([_HEADS, *rows(result)]).encode())


def show(result: BenchResult) -> None:
    """Print the table, the speed-ups, the energy savings, and what was not measured."""
    console = open_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if index else "left")
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    for pair, spread in result.speedups.items():
        console.print(f"{pair}: {spread.median:.2f}x ({spread.least:.2f} to {spread.most:.2f})")
    by_name = {procedure.name: procedure for procedure in result.procedures}
    for line in _pipeline_lines(result, by_name):
        console.print(line)
    per_step = by_name["single-pass"].seconds.median * result.batch_size / 1000
    kept = result.checkpoint_seconds / (STEPS_BETWEEN * per_step)
    console.print(
        f"a checkpoint of every block: {result.checkpoint_seconds:.3f} s, {100 * kept:.2f} % of"
        f" single-pass's {STEPS_BETWEEN} steps, the least between two checkpoints"
    )
    for line in energy_lines(result):
        console.print(line)


def _pipeline_lines(result: BenchResult, by_name: Mapping[str, ProcedureResult]) -> list[str]:
    """Compare the pipeline with its ideal, and with `serial`; one worker has none."""
    if "pipeline" not in by_name:
        return []
    pipeline = by_name["pipeline"]
    share = by_name["single-pass"].seconds.median / result.workers / pipeline.seconds.median
    cpu = pipeline.cpu_seconds / by_name["serial"].cpu_seconds
    return [
        f"pipeline: {100 * share:.0f} % of the ideal (single-pass / {result.workers})",
        f"CPU seconds, pipeline / serial: {cpu:.3f}",
    ]


def energy_lines(result: BenchResult) -> list[str]:
    """Return a line for each energy saving over `serial`, and the reasons of missing figures."""
    lines = [
        f"energy of {saving.procedure}, {saving.counted}: {saving.en_joules:.1f} J for 1,000"
        f" images, serial {saving.e1_joules:.1f} J; saved {100 * saving.share:.1f} % of serial's,"
        f" (E1 - EN) / E1; by the paper's formula {100 * saving.papers:.1f} %, E1 / EN - 1"
        for saving in result.savings
        if saving.share is not None and saving.papers is not None
    ]
    unknown: dict[str, list[str]] = {}
    for saving in result.savings:
        if saving.share is None:
            names = unknown.setdefault(saving.reason or "", [])
            names.append(f"{saving.procedure} ({saving.counted})")
    lines += [
        f"energy saved by {', '.join(names)} not measured: {reason}"
        for reason, names in unknown.items()
    ]
    missing = dict.fromkeys(s.reason for s in result.savings if s.reason and s.share is not None)
    return [*lines, *(f"joules without: {reason}" for reason in missing)]


def rows(result: BenchResult) -> list[tuple[str, ...]]:
    """Return the table's row for each procedure."""
    serial = next(p.seconds.median for p in result.procedures if p.name == "serial")
    return [_row(procedure, serial) for procedure in result.procedures]


def _row(procedure: ProcedureResult, serial: float) -> tuple[str, ...]:
    seconds = procedure.seconds
    predicted = procedure.predicted_seconds
    return (
        procedure.name,
        f"{seconds.median:.3f}",
        f"{seconds.least:.3f} to {seconds.most:.3f}",
        f"{serial / seconds.median:.2f}",
        f"{procedure.cpu_seconds:.2f}",
        " ".join("?" if p is None else f"{p / 1e6:.0f}" for p in procedure.peak_bytes),
        "none" if predicted is None else f"{predicted:.3f}",
        "" if predicted is None else f"{100 * (predicted / seconds.median - 1):+.0f} %",
    )


def plot(results: Sequence[BenchResult]) -> str:
    """Draw the throughput of each procedure relative to `serial` as an SVG bar chart."""
    bars: list[str] = []
    y = 34
    best = max(_speedups(result)[name].median for result in results for name in _speedups(result))
    for result in results:
        bars.append(f'<text class="title" x="10" y="{y}">{html_text(result.preset)}</text>')
        y += 12
        for name, spread in _speedups(result).items():
            width = 430 * spread.median / best
            bars.append(
                f'<text x="130" y="{y + 13}" text-anchor="end">{html_text(name)}</text>'
                f'<rect class="{name}" x="138" y="{y}" width="{width:.1f}" height="17"/>'
                f'<text x="{145 + width:.1f}" y="{y + 13}">{spread.median:.2f}x</text>'
            )
            y += 22
        y += 30
    return _SVG.format(height=y, bars="\n".join(bars), subtitle=html_text(_subtitle(results[0])))


def _speedups(result: BenchResult) -> dict[str, Spread]:
    """Return each procedure's speed-up over `serial`."""
    serial = next(p.seconds for p in result.procedures if p.name == "serial")
    return {
        p.name: type(serial)(
            serial.median / p.seconds.most,
            serial.median / p.seconds.median,
            serial.median / p.seconds.least,
        )
        for p in result.procedures
    }


def _subtitle(result: BenchResult) -> str:
    return (
        "Training throughput over the paper's serial procedure on the same kernels;"
        f" {result.workers} workers, {result.threads} thread each, {result.environment['machine']}"
    )


_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}"
 font-family="sans-serif" font-size="12"><style>
text {{ fill: #24292f }} .title {{ font-weight: bold; font-size: 14px }}
rect {{ fill: #8c959f }} .single-pass, .pipeline, .cache {{ fill: #0969da }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} rect {{ fill: #6e7681 }}
.single-pass, .pipeline, .cache {{ fill: #58a6ff }} }}
</style><text x="10" y="14" font-size="11">{subtitle}</text>
{bars}
</svg>
"""
