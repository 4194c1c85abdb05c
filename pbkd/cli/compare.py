"""`pbkd compare`: a table of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", metavar="run")],
    csv: Annotated[
        Path | None, typer.Option(help="Write all figures in full precision to this CSV file.")
    ] = None,
) -> None:
    """Compare finished runs in a table: size, accuracy, latency, training time, energy.

    MACs, parameters and latencies are ratios, teacher / student. The strongest rival that
    `pbkd baseline` measured has columns of its own.
    """
    from pbkd.core.files import write_file
    from pbkd.report.compare import compare_csv
    from pbkd.report.console.comparison import show_comparison
    from pbkd.runs.finished import read_finished

    finished = [read_finished(folder) for folder in runs]
    show_comparison(finished)
    if csv:
        write_file(csv, compare_csv(finished).encode())
