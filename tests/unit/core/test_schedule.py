from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker, check_schedule
from pbkd.core.workload import Workload
from pbkd.errors import ScheduleError
from pbkd.planning.cost_model import job_seconds, makespan, worker_seconds
from pbkd.plugin.registry import build_registry

COSTS = [BlockCost("a", 1, 2, 3), BlockCost("b", 3, 4, 5), BlockCost("c", 7, 1, 1)]
REGISTRY = build_registry()
SCHEDULERS = sorted(REGISTRY.strategies["scheduler"])

seconds = st.floats(0, 1e3, allow_nan=False)


@st.composite
def chains(draw: st.DrawFn) -> list[BlockCost]:
    """Costs of a chain: each prefix is at least the prefix and block before it."""
    costs, prefix = [], 0.0
    for index in range(draw(st.integers(1, 12))):
        prefix += draw(seconds)
        costs.append(BlockCost(f"block{index}", prefix, draw(seconds), draw(seconds)))
        prefix += costs[-1].teacher_seconds
    return costs


@st.composite
def crews(draw: st.DrawFn) -> list[Worker]:
    speeds = draw(st.lists(st.floats(0.1, 10), min_size=1, max_size=9))
    return [Worker(rank, speed=speed) for rank, speed in enumerate(speeds)]


@pytest.mark.parametrize("name", SCHEDULERS)
@given(costs=chains(), workers=crews())
def test_every_schedule_is_complete_and_possible(
    name: str, costs: list[BlockCost], workers: list[Worker]
) -> None:
    schedule = REGISTRY.create("scheduler", {"name": name}).schedule(costs, workers)
    check_schedule(schedule, costs, len(workers))
    names = [block for job in schedule.jobs for block in job.blocks]
    assert sorted(names) == sorted(cost.name for cost in costs)
    span = makespan(schedule, costs, workers)
    fastest = max(worker.speed for worker in workers)
    largest = max(
        c.train_seconds + (schedule.feed == "recompute") * (c.prefix_seconds + c.teacher_seconds)
        for c in costs
    )
    if schedule.feed == "relay":  # its workers may share a block
        largest /= len(workers)
    mean = sum(c.train_seconds for c in costs) / sum(worker.speed for worker in workers)
    # Sums in another order differ in their last bits.
    assert span >= max(largest / fastest, mean) * (1 - 1e-9)


@given(costs=chains(), workers=crews())
def test_greedy_is_never_worse_than_one_worker(
    costs: list[BlockCost], workers: list[Worker]
) -> None:
    schedule = REGISTRY.create("scheduler", {"name": "greedy"}).schedule(costs, workers)
    alone = Schedule(((Job(tuple(cost.name for cost in costs)),),))
    fastest = max(worker.speed for worker in workers)
    single = makespan(alone, costs, [Worker(0, speed=fastest)])
    assert makespan(schedule, costs, workers) <= single * (1 + 1e-9)


def test_a_job_runs_the_teacher_once_up_to_its_last_block() -> None:
    assert job_seconds(Job(("a", "b")), COSTS) == (3 + 4) + (3 + 5)
    assert job_seconds(Job(("c",)), COSTS) == 7 + 1 + 1


def test_shared_jobs_go_to_whoever_is_free_first() -> None:
    schedule = Schedule(((Job(("c",)),), ()), (Job(("b",)), Job(("a",))))
    workers = [Worker(0), Worker(1)]
    assert worker_seconds(schedule, COSTS, workers) == [9 + 6, 12]
    assert makespan(schedule, COSTS, workers, Workload(10, 10)) == 150


def test_a_worker_of_double_speed_takes_half_the_seconds() -> None:
    schedule = Schedule(((Job(("b",)),),))
    assert worker_seconds(schedule, COSTS, [Worker(0, speed=2)]) == [6]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (("a", "b"), "drops the blocks c"),
        (("a", "b", "b", "c"), "repeats the blocks b"),
        (("a", "b", "c", "d"), "invents the blocks d"),
    ],
)
def test_a_schedule_that_is_wrong_says_how(blocks: tuple[str, ...], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        check_schedule(Schedule(((Job(blocks),),)), COSTS, 1)


def test_a_schedule_for_other_workers_is_an_error() -> None:
    with pytest.raises(ScheduleError, match="1 workers, but there are 2"):
        check_schedule(Schedule(((Job(("a", "b", "c")),),)), COSTS, 2)
