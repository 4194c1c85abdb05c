"""`pbkd report`: HTML pages of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", metavar="run")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file (default: report.html in the run's folder, or for several runs in the"
            " current folder)."
        ),
    ] = None,
) -> None:
    """Write an HTML page of a finished run, or a comparison of several.

    The file is self-contained: styles, charts and scripts are embedded.
    """
    from pbkd.core.files import write_file
    from pbkd.report.compare_page import compare_page
    from pbkd.report.report_data import read_report_data
    from pbkd.report.run_page import run_page
    from pbkd.runs.finished import read_finished

    if len(runs) == 1:
        data = read_report_data(runs[0])
        for fault in data.faults:
            typer.echo(f"pbkd: {fault}", err=True)
        text = run_page(data)
        path = out or runs[0] / "report.html"
    else:
        text = compare_page([read_finished(folder) for folder in runs])
        path = out or Path("report.html")
    write_file(path, text.encode(errors="replace"))
    typer.echo(f"written: {path}")
