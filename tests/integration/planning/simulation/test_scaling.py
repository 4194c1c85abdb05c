from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pbkd.core.workload import Workload
from pbkd.planning.cluster import Cluster, Failures, Nodes
from pbkd.planning.cost_files import CostTable
from pbkd.planning.prediction import Unpredicted
from pbkd.planning.simulation.scaling import (
    SimulatedSchedule,
    doubling_counts,
    fastest_simulated,
    simulate_schedulers,
)
from pbkd.plugin.registry import build_registry
from pbkd.testing import tiny_costs

REGISTRY = build_registry()
SCHEDULERS: dict[str, Callable[[], Any]] = {
    name: partial(REGISTRY.create, "scheduler", {"name": name})
    for name in REGISTRY.strategies["scheduler"]
}
TABLE = CostTable("tiny", tuple(tiny_costs(13)), Workload(10_000, 10_000))


def row(
    rows: list[SimulatedSchedule | Unpredicted], scheduler: str, workers: int
) -> SimulatedSchedule:
    found = [
        row
        for row in rows
        if isinstance(row, SimulatedSchedule)
        and (row.prediction.scheduler, row.workers) == (scheduler, workers)
    ]
    return found[0]


def test_numbers_of_workers_double_up_to_all_devices() -> None:
    assert doubling_counts(1) == [1]
    assert doubling_counts(6) == [1, 2, 4, 6]
    assert doubling_counts(64) == [1, 2, 4, 8, 16, 32, 64]


def test_one_device_is_as_fast_as_one_pass_and_several_are_no_more_than_their_number() -> None:
    cluster = Cluster((Nodes("x", count=4, latency=0, bandwidth=1e15),))
    rows = simulate_schedulers(TABLE, cluster, [1, 4], SCHEDULERS)
    assert len(rows) == 2 * len(SCHEDULERS)
    alone = row(rows, "pipeline", 1)
    assert alone.over_single_pass == pytest.approx(1)
    assert alone.efficiency == pytest.approx(1)
    assert row(rows, "lpt-scheduler", 1).over_paper == pytest.approx(1)
    for found in rows:
        if isinstance(found, SimulatedSchedule):
            assert found.over_single_pass <= found.workers * (1 + 1e-9)
            assert found.efficiency <= 1 + 1e-9
            assert found.over_paper > found.over_single_pass
    cached = [found for found in rows if isinstance(found, Unpredicted)]
    assert {found.scheduler for found in cached} == {"cached"}


def test_efficiency_counts_what_the_devices_speeds_add_up_to() -> None:
    fast = Nodes("fast", count=1, speed=3, latency=0, bandwidth=1e15)
    slow = Nodes("slow", count=1, speed=1, latency=0, bandwidth=1e15)
    found = row(simulate_schedulers(TABLE, Cluster((fast, slow)), [2], SCHEDULERS), "pipeline", 2)
    assert 1 < found.over_single_pass <= 4 / 3
    assert found.efficiency == pytest.approx(found.over_single_pass * 3 / 4)


def test_a_crew_that_fails_too_often_has_its_reason_in_its_row() -> None:
    cluster = Cluster((Nodes("x", count=2),), Failures(per_device_hour=1e5))
    rows = simulate_schedulers(TABLE, cluster, [2], SCHEDULERS)
    assert all(isinstance(found, Unpredicted) for found in rows)
    assert fastest_simulated(rows) is None


def test_of_thousands_of_workers_many_have_nothing_to_gain() -> None:
    cluster = Cluster((Nodes("x", count=512, devices=8, latency=1e-5, bandwidth=1e10),))
    # A hundredth of a block's training does not shrink with the batch.
    stiff = [replace(cost, overhead_seconds=cost.train_seconds / 100) for cost in TABLE.costs]
    table = CostTable("stiff", tuple(stiff), TABLE.workload)
    found = row(
        simulate_schedulers(table, cluster, [4096], {"pipeline": SCHEDULERS["pipeline"]}),
        "pipeline",
        4096,
    )
    assert found.over_single_pass > 13  # teams share the heaviest blocks
    assert found.efficiency < 0.5


def test_rows_say_why_a_figure_is_not_known() -> None:
    (found,) = simulate_schedulers(
        TABLE, Cluster((Nodes("x"),)), [1], {"greedy": SCHEDULERS["greedy"]}
    )
    figures = found.to_dict()
    assert figures["joules"] is None
    assert (
        figures["joules_reason"]
        == "the cluster file gives no busy_watts and idle_watts for a device"
    )
    assert figures["cost_reason"] == "the cluster file gives no price for a device"
    assert figures["seconds"] == figures["model_seconds"]
