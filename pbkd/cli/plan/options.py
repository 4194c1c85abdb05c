"""Typer annotations of the options of `pbkd plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_COUNTS",
    "Against",
    "ClusterFile",
    "CostFile",
    "JsonFile",
    "Link",
    "SaveCosts",
    "Schedulers",
    "Setting",
    "SvgFile",
    "WorkerCounts",
]

DEFAULT_COUNTS = "1,2,4,8"

WorkerCounts = Annotated[
    str | None,
    typer.Option(
        help="Worker counts to predict for, separated by commas. With --cluster, N workers are its"
        " first N devices, and the default is 1, 2, 4, … all.",
        show_default=DEFAULT_COUNTS,
    ),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(help="Simulate on the nodes described in this file (docs/cluster.md)."),
]
Against = Annotated[
    list[Path] | None,
    typer.Option(
        help="Only compare simulated with measured seconds, from a run folder or a file of"
        " published seconds. Can be repeated."
    ),
]
CostFile = Annotated[
    Path | None, typer.Option(help="Predict from this cost file; load and measure nothing.")
]
SaveCosts = Annotated[
    Path | None, typer.Option(help="Write the costs to this file, for use with --costs.")
]
Schedulers = Annotated[
    str | None,
    typer.Option(
        help="Only compare these schedulers, separated by commas: predicted seconds, how many times"
        " the seconds that no schedule can beat, and the imbalance of the workers. With --cluster,"
        " on its devices, which may differ."
    ),
]
Setting = Annotated[
    str | None,
    typer.Option(
        help="The run to use from a file of published seconds: a part of its setting, optionally"
        " followed by @N for the record with N workers (default: the most workers)."
    ),
]
Link = Annotated[
    float | None,
    typer.Option(help="Bandwidth between any two workers, in bytes/s.", show_default="1e9"),
]
SvgFile = Annotated[Path | None, typer.Option(help="Write the Gantt chart to this SVG file.")]
JsonFile = Annotated[Path | None, typer.Option(help="Write every prediction to this JSON file.")]
