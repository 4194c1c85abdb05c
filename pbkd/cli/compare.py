"""`pbkd compare`: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", metavar="run")],
    csv: Annotated[
        Path | None, typer.Option(help="Write every figure, in full precision, to this file.")
    ] = None,
) -> None:
    """Show finished runs in one table, a row each: size, accuracy, latency, seconds, joules.

    MACs, parameters and latencies are how many times the student's the teacher's are. Baselines
    that `pbkd baseline` trained are further columns.
    """
    from pbkd.core.files import write_file
    from pbkd.report.compare import compare_csv, compare_notes, compare_rows
    from pbkd.report.console.display import print_wide
    from pbkd.runs.finished import read_finished

    finished = [read_finished(folder) for folder in runs]
    print_wide(*compare_rows(finished), left=2)
    for note in compare_notes(finished):
        typer.echo(note)
    if csv:
        write_file(csv, compare_csv(finished).encode())
