"""Comparison of schedulers, for `pbkd plan --schedulers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pbkd.cli.plan.inputs import PlanInputs
from pbkd.core.schedule import Worker
from pbkd.planning.cluster import Cluster
from pbkd.planning.comparison import compare_schedulers, write_comparisons
from pbkd.planning.prediction import fastest
from pbkd.report.console.comparisons import show_comparisons
from pbkd.report.console.predictions import show_gantt


def compare(
    inputs: PlanInputs,
    cluster: Cluster | None,
    link: float | None,
    counts: Sequence[int],
    *,
    svg: Path | None,
    json: Path | None,
) -> None:
    """Compare schedulers on each number of workers; print a table and the fastest one's chart."""
    comparisons = [
        compare_schedulers(inputs.table, _workers(inputs, cluster, link, count), inputs.schedulers)
        for count in counts
    ]
    show_comparisons(inputs.table, comparisons)
    best = fastest(comparisons[-1].rows)
    if best:
        show_gantt(best[0], inputs.table, svg)
    if json:
        write_comparisons(json, inputs.table, comparisons)


def _workers(
    inputs: PlanInputs, cluster: Cluster | None, link: float | None, count: int
) -> list[Worker]:
    """Return a cluster's first devices, or workers like the one on which costs were measured."""
    if cluster:
        return [device.worker for device in cluster.devices(count)]
    worker = inputs.worker if link is None else replace(inputs.worker, bandwidth=link)
    return [replace(worker, rank=rank) for rank in range(count)]
