"""Simulations of `pbkd plan --cluster`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pbkd.cli.plan.inputs import PlanInputs
from pbkd.planning.cluster import Cluster
from pbkd.planning.simulation.scaling import (
    fastest_simulated,
    simulate_schedulers,
    write_simulations,
)
from pbkd.report.console.predictions import show_gantt
from pbkd.report.console.simulations import show_simulations


def simulate(
    inputs: PlanInputs,
    cluster: Cluster,
    counts: Sequence[int],
    *,
    svg: Path | None,
    json: Path | None,
) -> None:
    """Simulate every scheduler on the first devices of a cluster, for each device count."""
    rows = simulate_schedulers(inputs.table, cluster, counts, inputs.schedulers)
    show_simulations(inputs.table, cluster, rows)
    best = fastest_simulated(rows)
    if svg and best:
        show_gantt(best.prediction, inputs.table, svg)
    if json:
        write_simulations(json, inputs.table, cluster, rows)
