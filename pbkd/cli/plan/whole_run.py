"""The whole run, for `pbkd plan` with costs of a run's phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from pbkd.cli.plan.inputs import PlanInputs
from pbkd.core.schedule import Worker
from pbkd.errors import PLUGIN_FAILURES, one_line
from pbkd.planning.phase_prediction import SecondsOf
from pbkd.planning.prediction import Prediction
from pbkd.planning.whole_run import whole_runs
from pbkd.report.console.whole_runs import show_whole_runs


def predict_whole_runs(
    inputs: PlanInputs,
    rows: Sequence[Prediction],
    seconds_on: Callable[[Sequence[Worker]], SecondsOf],
) -> list[dict[str, Any]]:
    """Predict and print the whole run for each number of workers, if its work is known.

    Args:
        inputs: Costs and schedulers.
        rows: The fastest schedule of each number of workers.
        seconds_on: Returns what predicts the seconds of a schedule on some workers.

    Returns:
        The figures in the form of a JSON file.
    """
    if inputs.table.run is None or not rows:
        return []
    try:
        runs = whole_runs(inputs.table, rows, inputs.schedulers, seconds_on)
    except PLUGIN_FAILURES as error:
        typer.echo(f"the whole run cannot be predicted: {one_line(error)}")
        return []
    show_whole_runs(runs)
    return [run.to_dict() for run in runs]
