from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.cluster import Cluster, Device, Failures, Nodes
from pbkd.planning.cost_model import makespan, worker_seconds
from pbkd.planning.simulation import Simulation, simulate
from pbkd.plugin.registry import build_registry

REGISTRY = build_registry()
SCHEDULERS = [
    REGISTRY.create("scheduler", {"name": name}) for name in REGISTRY.strategies["scheduler"]
]
ALONE = Nodes("alone")
COSTS = [BlockCost("a", 0, 2, 3), BlockCost("b", 2, 4, 5)]
HALVES = Schedule(((Job(("a",)),), (Job(("b",)),)))

figures = st.floats(1e-3, 1e3)


@st.composite
def chains(draw: st.DrawFn) -> list[BlockCost]:
    costs, prefix = [], 0.0
    for index in range(draw(st.integers(1, 8))):
        moved = draw(st.integers(0, 10**9))
        block = BlockCost(f"b{index}", prefix, draw(figures), draw(figures), moved, moved, 2)
        costs.append(block)
        prefix += block.teacher_seconds
    return costs


@settings(max_examples=40)
@given(
    costs=chains(),
    speeds=st.lists(st.floats(0.25, 4), min_size=1, max_size=6),
    steps=st.integers(1, 1000),
)
def test_with_equal_links_and_nothing_shared_it_is_the_model_that_plans_are_made_by(
    costs: list[BlockCost], speeds: list[float], steps: int
) -> None:
    devices = [Device(Worker(rank, speed=s), ALONE) for rank, s in enumerate(speeds)]
    workers = [device.worker for device in devices]
    workload = Workload(steps * len(workers), len(workers))
    for scheduler in SCHEDULERS:
        schedule = scheduler.schedule(costs, workers)
        found = simulate(schedule, costs, devices, workload, Failures())
        seconds = makespan(schedule, costs, workers, workload)
        if schedule.feed == "recompute":
            assert found.seconds == seconds
        else:
            assert found.seconds == pytest.approx(seconds, rel=1e-9)
        busy = sum(worker_seconds(schedule, costs, workers)) * workload.steps
        if schedule.feed != "cache":
            assert found.busy_share == pytest.approx(busy / len(workers) / seconds)


SOUND = Failures()


def simulated(schedule: Schedule = HALVES, failures: Failures = SOUND, **keys: Any) -> Simulation:
    cluster = Cluster((Nodes("x", devices=2, **keys),))
    return simulate(schedule, COSTS, cluster.devices(2), Workload(3600, 3600), failures)


def test_idle_devices_take_their_idle_watts_and_cost_their_price() -> None:
    found = simulated(busy_watts=100, idle_watts=10, price=2.0)
    assert found.seconds == 3600 * 11
    assert found.busy_share == pytest.approx((5 + 11) / 22)
    assert found.joules == pytest.approx(3600 * (5 * 100 + 6 * 10 + 11 * 100))
    assert found.cost == pytest.approx(11 * 2 * 2.0)


def test_without_watts_or_prices_there_are_no_joules_and_no_cost() -> None:
    assert (simulated(busy_watts=100).joules, simulated(busy_watts=100).cost) == (None, None)


def test_failures_take_seconds_joules_and_money() -> None:
    sound = simulated(busy_watts=100, idle_watts=10, price=2.0)
    failing = simulated(failures=Failures(0.5, 600), busy_watts=100, idle_watts=10, price=2.0)
    assert failing.undisturbed == sound.seconds
    assert failing.failures > 1
    assert failing.seconds > sound.seconds + 600 * failing.failures
    assert failing.joules is not None and sound.joules is not None
    assert failing.joules > sound.joules
    assert failing.cost is not None and sound.cost is not None
    assert failing.cost / sound.cost == pytest.approx(failing.seconds / sound.seconds)


@pytest.mark.parametrize(
    ("schedule", "limit"),
    [
        (HALVES, "b: the teacher's pass 55 %, training 45 %"),
        (
            Schedule(((Job(("a", "b")),), ())),
            "a and 1 more: training 57 %, the teacher's pass 43 %",
        ),
        (replace(HALVES, feed="cache"), "b: training 100 %"),
        (replace(HALVES, feed="relay"), "b: teacher and training 100 %"),
    ],
)
def test_it_says_where_the_time_goes(schedule: Schedule, limit: str) -> None:
    assert simulated(schedule).limit == limit


def test_a_relay_that_waits_for_its_link_says_so() -> None:
    costs = [COSTS[0], replace(COSTS[1], input_bytes=100)]
    cluster = Cluster((Nodes("x", count=2, bandwidth=1.0, overlap=True),))
    relay = replace(HALVES, feed="relay")
    found = simulate(relay, costs, cluster.devices(2), Workload(9, 9), Failures())
    assert found.limit == "a: sending 95 %, teacher and training 5 %"
