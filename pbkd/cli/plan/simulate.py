"""Simulations of `pbkd plan --cluster`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pbkd.cli.plan.inputs import PlanInputs
from pbkd.cli.plan.whole_run import predict_whole_runs
from pbkd.planning.cluster import Cluster
from pbkd.planning.prediction import Prediction, Unpredicted
from pbkd.planning.simulation.scaling import (
    SimulatedSchedule,
    fastest_simulated,
    simulate_schedulers,
    simulated_on,
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
    runs = predict_whole_runs(inputs, _fastest_of_each(rows), partial(simulated_on, cluster))
    if json:
        write_simulations(json, inputs.table, cluster, rows, runs)


def _fastest_of_each(rows: Sequence[SimulatedSchedule | Unpredicted]) -> list[Prediction]:
    """Return the simulated schedule with the least seconds for each number of workers."""
    groups: dict[int, list[SimulatedSchedule]] = {}
    for row in rows:
        if isinstance(row, SimulatedSchedule):
            groups.setdefault(row.workers, []).append(row)
    best = (fastest_simulated(group) for group in groups.values())
    return [row.prediction for row in best if row]
