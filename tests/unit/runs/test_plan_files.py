from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.files import write_json
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.errors import RunFolderError
from pbkd.planning.cost_files import CostTable
from pbkd.planning.plan import Plan
from pbkd.runs.plan_files import read_plan, write_plan

COSTS = (BlockCost("a", 0, 1, 2), BlockCost("b", 1, 1, 2))
TABLE = CostTable("a teacher", COSTS, Workload(10, 10))
PLAN = Plan(
    blocks=(),
    workers=(Worker(0), Worker(1, speed=2.0)),
    schedule=Schedule(((Job(("a",)),), (Job(("b",)),))),
    workload=TABLE.workload,
    seconds=30.0,
    scheduler="greedy",
    why="predicted fastest",
    cache=None,
)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_plan(tmp_path, PLAN, TABLE)
    found = read_plan(tmp_path)
    assert (found.table, found.workers, found.schedule) == (TABLE, PLAN.workers, PLAN.schedule)
    assert (found.scheduler, found.why) == ("greedy", "predicted fastest")
    assert found.seconds == 30.0  # worker 0: 10 steps of 1 s and 2 s


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workers", [{"rank": 0, "speed": 0}, {"rank": 1}]),
        ("workers", [{"rank": 0}]),
        ("assigned", [[["a"]], [["c"]]]),
        ("feed", "elsewhere"),
        ("shared", 7),
    ],
)
def test_a_damaged_plan_is_told(tmp_path: Path, key: str, value: Any) -> None:
    write_plan(tmp_path, PLAN, TABLE)
    tree = json.loads((tmp_path / "plan.json").read_text())
    write_json(tmp_path / "plan.json", {**tree, key: value})
    with pytest.raises(RunFolderError, match=r"plan\.json' is not a plan"):
        read_plan(tmp_path)
