from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule
from pbkd.core.workload import Workload
from pbkd.planning.new_split import split_rest
from pbkd.planning.plan import Plan
from pbkd.plugin.registry import build_registry
from tests.unit.planning.test_cost_check import PLAN

REGISTRY = build_registry()


def scheduled_by(*names: str) -> dict[str, Any]:
    return {name: REGISTRY.create("scheduler", {"name": name}) for name in names}


def with_costs(**train: float) -> Plan:
    costs = {name: BlockCost(name, 0.0, 0.0, seconds) for name, seconds in train.items()}
    blocks = (replace(p, cost=costs[p.name]) for p in PLAN.blocks)
    return replace(PLAN, blocks=tuple(blocks))


def test_the_rest_of_the_work_is_divided_by_the_corrected_costs() -> None:
    plan = replace(with_costs(a=3.0, b=3.0, c=1.0), workload=Workload(100, 100, 10))
    split = split_rest(plan, scheduled_by("greedy"), dict.fromkeys("abc", 8), 5.0)
    assert split is not None
    assert split.old_seconds == 80 * 6.0  # a and b on one worker
    # The best is 4, and the worker with the longest epoch of 10 steps is waited for.
    assert split.new_seconds == 80 * 4.0 + 5.0 + 10 * 6.0


def test_finished_blocks_are_left_out_and_others_count_by_what_is_left() -> None:
    plan = replace(with_costs(a=3.0, b=3.0, c=1.0), workload=Workload(100, 100, 10))
    left = {"a": 0, "b": 2, "c": 4}
    split = split_rest(plan, scheduled_by("greedy"), left, 0.0)
    assert split is not None
    names = [n for jobs in split.choice.schedule.assigned for job in jobs for n in job.blocks]
    assert sorted(names) == ["b", "c"]
    assert split.old_seconds == max(20 * 3.0, 40 * 1.0)
    assert split_rest(plan, {}, dict.fromkeys("abc", 0), 0.0) is None


@pytest.mark.parametrize("feed", ["cache", "recompute"])
def test_a_phase_keeps_the_cache_that_it_began_with_and_gets_none_later(feed: str) -> None:
    plan = with_costs(a=3.0, b=3.0, c=1.0)
    blocks = (replace(p, cost=replace(p.cost, teacher_seconds=9.0)) for p in plan.blocks if p.cost)
    plan = replace(
        plan,
        blocks=tuple(blocks),
        workload=Workload(100, 10, 10),
        schedule=Schedule(((Job(("a", "b")),), (Job(("c",)),)), feed=feed),
    )
    all_of_them = scheduled_by("cached", "greedy", "lpt-scheduler", "pipeline")
    split = split_rest(plan, all_of_them, dict.fromkeys("abc", 8), 0.0)
    assert split is not None
    assert (split.choice.schedule.feed == "cache") == (feed == "cache")
