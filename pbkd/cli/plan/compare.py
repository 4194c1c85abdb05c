"""Comparison of simulated with measured seconds, for `pbkd plan --against`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from pbkd.pipeline.against import Comparison, against
from pbkd.planning.cluster import Cluster
from pbkd.report.console.display import print_wide
from pbkd.report.numbers import duration


def compare(paths: Sequence[Path], cluster: Cluster | None, setting: str | None) -> None:
    """Print the error of the simulation for every measured run, and the largest error."""
    rows = [row for path in paths for row in against(path, cluster, setting)]
    print_wide(
        ("run", "workers", "simulated", "measured", "off"), [_cells(row) for row in rows], left=1
    )
    worst = max(abs(row.off) for row in rows)
    typer.echo(f"at most {100 * worst:.1f} % off")


def _cells(row: Comparison) -> tuple[str, ...]:
    return (
        row.what,
        str(row.workers),
        duration(row.simulated),
        duration(row.measured),
        f"{100 * row.off:+.1f} %",
    )
