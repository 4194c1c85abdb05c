"""Predictions of `pbkd plan` for identical workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pbkd.cli.plan.inputs import PlanInputs
from pbkd.cli.plan.whole_run import predict_whole_runs
from pbkd.planning.phase_prediction import modelled_on
from pbkd.planning.prediction import fastest, predict_schedulers, write_predictions
from pbkd.report.console.predictions import show_gantt, show_predictions


def predict(
    inputs: PlanInputs,
    link: float | None,
    counts: Sequence[int],
    *,
    svg: Path | None,
    json: Path | None,
) -> None:
    """Predict every scheduler for each worker count; print a table and the fastest one's chart."""
    table = inputs.table
    worker = inputs.worker if link is None else replace(inputs.worker, bandwidth=link)
    rows = [
        row
        for count in counts
        for row in predict_schedulers(
            table.costs,
            [replace(worker, rank=rank) for rank in range(count)],
            table.workload,
            inputs.schedulers,
        )
    ]
    show_predictions(table, worker, rows)
    selected = [row for row in rows if inputs.selected in (None, row.scheduler)]
    if best := fastest(selected):
        show_gantt(best[0], table, svg)
    by_count = (fastest([row for row in selected if len(row.workers) == n]) for n in counts)
    runs = predict_whole_runs(inputs, [best[0] for best in by_count if best], modelled_on)
    if json:
        write_predictions(json, table, worker, rows, runs)
