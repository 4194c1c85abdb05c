from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pbkd.core.blocks import Block, BlockCost
from pbkd.core.events import StepsTimed
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.cost_check import check_costs
from pbkd.planning.plan import Plan, PlannedBlock


def _planned(name: str, position: int, train: float) -> PlannedBlock:
    return PlannedBlock(
        name=name,
        builder={"name": "low-rank"},
        block=Block(name, position, (1,), (1,)),
        reason=None,
        parameters_before=4,
        parameters_after=1,
        bytes_before=16,
        bytes_after=4,
        macs_before=4,
        macs_after=1,
        cost=BlockCost(name, 1.0 + position, 1.0, train),
    )


PLAN = Plan(
    blocks=tuple(_planned(name, i, 2.0) for i, name in enumerate("abc")),
    workers=(Worker(0), Worker(1)),
    schedule=Schedule(((Job(("a", "b")),), (Job(("c",)),))),
    workload=Workload(10, 10, 2),
    seconds=80.0,
    scheduler="greedy",
    why="",
    cache=None,
    segment_seconds={"stem": 1.0, "a": 1.0, "b": 1.0, "c": 1.0, "head": 1.0},
)


def timed(
    worker: int, training: Mapping[str, float], teacher: Mapping[str, float] | None = None
) -> StepsTimed:
    return StepsTimed(worker=worker, phase="teacher-fed", teacher=teacher or {}, training=training)


def training_of(plan: Plan) -> dict[str, float]:
    return {p.name: p.cost.train_seconds for p in plan.trained if p.cost}


def test_the_block_that_is_furthest_off_is_named_and_all_costs_are_corrected() -> None:
    check = check_costs(PLAN, [timed(0, {"a": 2.2, "b": 1.0}), timed(1, {"c": 3.0})])
    assert check is not None
    assert (check.worst, check.planned_seconds, check.measured_seconds) == ("b", 2.0, 1.0)
    assert check.off == -0.5
    assert training_of(check.plan) == pytest.approx({"a": 2.2, "b": 1.0, "c": 3.0})
    assert check.plan.workers == PLAN.workers


def test_what_was_not_timed_is_off_as_the_others_are() -> None:
    check = check_costs(PLAN, [timed(0, {"a": 3.0, "b": 5.0}, {"stem": 2.0, "a": 2.0, "b": 2.0})])
    assert check is not None
    assert training_of(check.plan)["c"] == 2.0 * 2.0  # the median of 1.5 and 2.5 times
    assert check.plan.segment_seconds == dict.fromkeys(PLAN.segment_seconds, 2.0)
    costs = [p.cost for p in check.plan.trained if p.cost]
    assert [cost.prefix_seconds for cost in costs] == [2.0, 4.0, 6.0]


def test_workers_of_different_machines_are_faster_or_slower_not_their_blocks() -> None:
    here, there = Worker(0, node="here"), Worker(1, node="there")
    plan = replace(PLAN, workers=(here, there))
    check = check_costs(plan, [timed(0, {"a": 2.0, "b": 2.0}), timed(1, {"c": 4.0})])
    assert check is not None
    assert [worker.speed for worker in check.plan.workers] == [1.0, 0.5]
    assert training_of(check.plan) == {"a": 2.0, "b": 2.0, "c": 2.0}
    again = check_costs(check.plan, [timed(0, {"a": 2.0, "b": 2.0}), timed(1, {"c": 4.0})])
    assert again is not None and again.off == 0


def test_without_a_timed_training_step_there_is_nothing_to_compare() -> None:
    assert check_costs(PLAN, [timed(0, {}, {"stem": 3.0})]) is None
    assert check_costs(PLAN, [timed(0, {"unknown": 1.0})]) is None
