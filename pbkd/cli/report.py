"""`pbkd report`: finished runs as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", metavar="run")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; without it, report.html in the run's folder or, of several"
            " runs, in this one."
        ),
    ] = None,
) -> None:
    """Write one HTML file that shows a finished run, or compares several; it opens anywhere.

    Nothing is loaded from elsewhere: style, pictures and script are in the file.
    """
    from pbkd.core.files import write_file
    from pbkd.report.compare_page import compare_page
    from pbkd.report.report_data import read_record
    from pbkd.report.run_page import run_page
    from pbkd.runs.finished import read_finished

    if len(runs) == 1:
        text = run_page(read_record(runs[0]))
        path = out or runs[0] / "report.html"
    else:
        text = compare_page([read_finished(folder) for folder in runs])
        path = out or Path("report.html")
    write_file(path, text.encode(errors="replace"))
    typer.echo(f"written: {path}")
