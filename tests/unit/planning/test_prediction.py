from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.errors import ConfigError
from pbkd.planning.cost_model import worker_seconds
from pbkd.planning.prediction import (
    Prediction,
    Unpredicted,
    fastest,
    link_bytes,
    predict_schedulers,
    serial_seconds,
)
from pbkd.planning.timeline import timeline
from pbkd.plugin.registry import build_registry

COSTS = [
    BlockCost("a", 0, 2, 3, input_bytes=10, parameter_bytes=7),
    BlockCost("b", 2, 4, 5, input_bytes=20, parameter_bytes=11),
    BlockCost("c", 6, 1, 1, input_bytes=30, parameter_bytes=13),
]
WORKLOAD = Workload(steps=10, distinct_steps=2)
REGISTRY = build_registry()
SCHEDULERS: dict[str, Callable[[], Any]] = {
    name: partial(REGISTRY.create, "scheduler", {"name": name})
    for name in REGISTRY.strategies["scheduler"]
}

figures = st.floats(1e-6, 1e3)


@st.composite
def chains(draw: st.DrawFn) -> list[BlockCost]:
    costs, prefix = [], 0.0
    for index in range(draw(st.integers(1, 8))):
        prefix += draw(figures)
        moved = draw(st.integers(0, 10**9))
        cost = BlockCost(f"block{index}", prefix, draw(figures), draw(figures), moved, moved, 2)
        costs.append(cost)
        prefix += cost.teacher_seconds
    return costs


@dataclass(frozen=True)
class Fixed:
    """Gives the schedule that it was made with."""

    name: ClassVar[str] = "fixed"
    given: Schedule

    def schedule(self, *_: Any, **__: Any) -> Schedule:
        return self.given


def fixed(*assigned: tuple[Job, ...], feed: str = "recompute", **more: Any) -> Callable[[], Fixed]:
    return lambda: Fixed(Schedule(assigned, feed=feed, **more))


def only(make: Callable[[], Any], workers: int) -> Prediction:
    (row,) = predict_schedulers(COSTS, make_workers(workers), WORKLOAD, {"fixed": make})
    assert isinstance(row, Prediction), row
    return row


def make_workers(count: int) -> list[Worker]:
    return [Worker(rank, bandwidth=1e12, latency=0) for rank in range(count)]


def test_serial_is_a_job_for_each_block_each_with_its_own_teacher_pass() -> None:
    jobs = (2 + 3) + (2 + 4 + 5) + (6 + 1 + 1)
    assert serial_seconds(COSTS, Worker(0), WORKLOAD) == 10 * jobs
    assert serial_seconds(COSTS, Worker(0, speed=2), WORKLOAD) == 5 * jobs


def test_speedup_and_idle_share_of_recomputed_jobs() -> None:
    row = only(fixed((Job(("a", "b")),), (Job(("c",)),)), 2)
    assert (row.seconds, row.step_bytes, row.total_bytes) == (140, 0, 0)
    assert row.speedup == pytest.approx(240 / 140)
    assert row.idle == pytest.approx(1 - (140 + 80) / 2 / 140)


def test_a_worker_without_a_job_is_idle() -> None:
    assert only(fixed((Job(("a", "b", "c")),), ()), 2).idle == pytest.approx(0.5)


def test_writing_a_cache_is_no_idleness() -> None:
    row = only(fixed((Job(("a", "c")),), (Job(("b",)),), feed="cache"), 2)
    writing = 7 * 2 / 2  # the teacher's pass over the distinct steps, by two workers
    assert row.seconds == pytest.approx(10 * 5 + writing)
    assert row.idle == pytest.approx(1 - (writing + 10 * (4 + 5) / 2) / (10 * 5 + writing))


def test_a_relay_moves_the_input_of_every_span_but_the_first() -> None:
    jobs = (Job(("a",)),), (Job(("b", "c")),)
    row = only(fixed(*jobs, feed="relay"), 2)
    assert (row.step_bytes, row.total_bytes) == (20, 200)
    assert link_bytes(Schedule(jobs), COSTS) == 0


def test_workers_that_share_a_span_move_its_gradients() -> None:
    shared = (Job(("a", "b")),)
    schedule = Schedule((shared, shared, shared, (Job(("c",)),)), feed="relay")
    assert link_bytes(schedule, COSTS) == 30 + 2 * 2 * (7 + 11)


def refuses() -> Any:
    raise ConfigError("'scheduler.patience' is required.")


def test_a_scheduler_that_fails_says_why_and_stops_no_other() -> None:
    class Raises:
        name = "raises"

        def schedule(self, *_: Any, **__: Any) -> Schedule:
            raise ZeroDivisionError("a\nproblem")

    class Nonsense:
        name = "nonsense"

        def schedule(self, *_: Any, **__: Any) -> Any:
            return "later"

    makers: dict[str, Callable[[], Any]] = {
        "refuses": refuses,
        "raises": Raises,
        "nonsense": Nonsense,
        "drops": fixed((Job(("a", "b")),)),
        "works": fixed((Job(("a", "b", "c")),)),
    }
    rows = predict_schedulers(COSTS, make_workers(1), WORKLOAD, makers)
    assert [row.scheduler for row in rows] == list(makers)
    reasons = [row.reason for row in rows if isinstance(row, Unpredicted)]
    assert reasons[0] == "'scheduler.patience' is required."
    assert reasons[1].startswith("the scheduler 'raises' of the plugin '")
    assert reasons[1].endswith("' failed in schedule (ZeroDivisionError: a problem).")
    assert reasons[2] == "it returns str, not a pbkd.Schedule."
    assert reasons[3] == "the schedule drops the blocks c."
    assert isinstance(rows[4], Prediction)
    assert rows[0].to_dict() == {
        "workers": 1,
        "scheduler": "refuses",
        "seconds": None,
        "reason": "'scheduler.patience' is required.",
    }


def test_a_cache_that_is_never_read_again_is_not_predicted() -> None:
    maker = {"fixed": fixed((Job(("a", "b", "c")),), feed="cache")}
    (row,) = predict_schedulers(COSTS, make_workers(1), Workload(10, 10), maker)
    assert isinstance(row, Unpredicted)
    assert "no step repeats the images" in row.reason


def test_costs_of_zero_are_an_error() -> None:
    with pytest.raises(ConfigError, match="the costs are all zero"):
        predict_schedulers([BlockCost("a", 0, 0, 0)], make_workers(1), WORKLOAD, SCHEDULERS)


def test_the_fastest_are_all_that_are_alike() -> None:
    rows = predict_schedulers(COSTS, make_workers(1), WORKLOAD, {**SCHEDULERS, "refuses": refuses})
    names = [row.scheduler for row in fastest([row for row in rows if row.scheduler != "cached"])]
    assert {"greedy", "pipeline", "round-robin"} <= set(names)
    assert "lpt-scheduler" not in names
    assert fastest([row for row in rows if row.scheduler == "refuses"]) == []


def test_on_one_worker_a_single_pass_saves_the_teachers_prefixes() -> None:
    rows = predict_schedulers(COSTS, make_workers(1), WORKLOAD, SCHEDULERS)
    found = {row.scheduler: row for row in rows if isinstance(row, Prediction)}
    assert found["round-robin"].seconds == 10 * (7 + 9)
    assert found["lpt-scheduler"].speedup == pytest.approx(1)
    assert found["pipeline"].seconds == pytest.approx(10 * (7 + 9))


@given(costs=chains(), count=st.integers(1, 9), slow=st.floats(0.2, 5))
def test_figures_and_bars_agree(costs: list[BlockCost], count: int, slow: float) -> None:
    workers = [Worker(rank, speed=slow if rank % 2 else 1.0) for rank in range(count)]
    for row in predict_schedulers(costs, workers, Workload(50, 5), SCHEDULERS):
        assert isinstance(row, Prediction), row
        bars = timeline(row.schedule, costs, workers, Workload(50, 5))
        busy = worker_seconds(row.schedule, costs, workers)
        ends = [0.0] * count
        for bar in bars:
            # Bars of a worker do not overlap; sums in another order differ in their last bits.
            assert bar.start >= ends[bar.worker] * (1 - 1e-9)
            assert bar.seconds >= -1e-9 * row.seconds
            ends[bar.worker] = bar.start + bar.seconds
        for worker in range(count):
            spent = sum(b.seconds for b in bars if b.worker == worker and b.kind != "cache")
            assert spent == pytest.approx(50 * busy[worker], abs=1e-9 * row.seconds)
        assert max(ends) <= row.seconds * (1 + 1e-9)
        if row.schedule.feed != "relay":
            assert max(ends) == pytest.approx(row.seconds)
        drawn = sum(bar.seconds for bar in bars) / count / row.seconds
        assert row.idle == pytest.approx(1 - drawn, abs=1e-9)
        trained = {bar.block for bar in bars if bar.kind == "training"}
        assert trained == {cost.name for cost in costs}
