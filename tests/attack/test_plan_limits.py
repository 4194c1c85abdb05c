"""Plans of the largest size that files may have are made and read within seconds."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.files import write_json
from pbkd.core.schedule import Job, Schedule, Worker, check_schedule
from pbkd.core.workload import Workload
from pbkd.errors import ScheduleError
from pbkd.planning.cluster import Cluster, Failures, Nodes
from pbkd.planning.cost_files import CostTable, write_costs
from pbkd.planning.prediction import Prediction, Unpredicted, predict_schedulers
from pbkd.planning.simulation.simulation import simulate
from pbkd.planning.timeline import job_lanes
from pbkd.runs.assignment import schedule_data
from pbkd.runs.plan_files import read_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd.plugin.registry import Registry

SLOWEST = 5.0  # CPU seconds
WORKLOAD = Workload(1000, 100)


@contextmanager
def soon() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SLOWEST


def costs(count: int) -> tuple[BlockCost, ...]:
    return tuple(
        BlockCost(f"b{i}", 0.001 * i, 0.001, 0.002 + i % 7 / 1e4, 1000, 400) for i in range(count)
    )


@pytest.mark.parametrize("name", ["cached", "greedy", "lpt-scheduler", "pipeline", "round-robin"])
def test_every_scheduler_plans_the_largest_chain_soon_or_refuses(
    registry: Registry, name: str
) -> None:
    chain, workers = costs(10_000), [Worker(rank, node=f"n{rank // 8}") for rank in range(4096)]
    schedulers = {name: lambda: registry.create("scheduler", {"name": name})}
    with soon():
        (row,) = predict_schedulers(chain, workers, WORKLOAD, schedulers)
        if name == "pipeline":
            assert isinstance(row, Unpredicted)
            assert "would take too long" in row.reason
        else:
            assert isinstance(row, Prediction)
            lanes = job_lanes(row.schedule, chain, workers, WORKLOAD)
            assert sum(len(job.blocks) for lane in lanes for job, _ in lane) == 10_000


def test_a_plan_of_thousands_of_shared_jobs_is_read_and_drawn_soon(tmp_path: Path) -> None:
    chain = costs(10_000)
    shared = Schedule(((), (), ()), tuple(Job((cost.name,)) for cost in chain))
    write_costs(tmp_path / "costs.json", CostTable("a chain", chain, WORKLOAD))
    workers = [asdict(Worker(rank)) for rank in range(3)]
    head = {"scheduler": "greedy", "why": "", "workers": workers}
    write_json(tmp_path / "plan.json", {**head, **schedule_data(shared)})
    with soon():
        plan = read_plan(tmp_path)
        assert plan
        assert plan.seconds > 0
        lanes = job_lanes(plan.schedule, chain, plan.workers, WORKLOAD)
    assert sum(map(len, lanes)) == 10_000
    with soon(), pytest.raises(ScheduleError, match="drops .* and 9,980 more"):
        names = [(f"x{i}",) for i in range(10_000)]
        check_schedule(Schedule(((),), tuple(map(Job, names))), chain, 1)


@pytest.mark.parametrize("feed", ["recompute", "relay"])
def test_thousands_of_devices_are_simulated_soon(feed: str) -> None:
    chain = costs(1024)
    group = Nodes("n", count=8, devices=128, contention=0.1, overlap=True)
    devices = Cluster((group,)).devices(1024)
    schedule = Schedule(tuple((Job((cost.name,)),) for cost in chain), feed=feed)
    with soon():
        assert simulate(schedule, chain, devices, WORKLOAD, Failures()).seconds > 0
