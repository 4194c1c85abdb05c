from __future__ import annotations

import pytest
from pbkd_lpt_scheduler import LptScheduler, register_schedulers

from pbkd import BlockCost, Job, Worker
from pbkd.planning import makespan, worker_seconds
from pbkd.testing import check_scheduler


def make_workers(count: int) -> list[Worker]:
    return [Worker(rank) for rank in range(count)]


def training(**seconds: float) -> list[BlockCost]:
    """Return blocks that cost nothing but training."""
    return [BlockCost(name, 0, 0, value) for name, value in seconds.items()]


def test_it_keeps_the_contract() -> None:
    check_scheduler(LptScheduler())


def test_all_blocks_wait_in_one_queue_and_the_longest_comes_first() -> None:
    schedule = LptScheduler().schedule(training(a=1, b=5, c=3), make_workers(2))
    assert schedule.assigned == ((), ())
    assert schedule.shared == (Job(("b",)), Job(("c",)), Job(("a",)))


def test_a_job_takes_as_long_as_its_prefix_its_block_and_its_training() -> None:
    # 5, 6 and 4 s: the prefix decides between the first two, which train equally long.
    costs = [BlockCost("a", 0, 1, 4), BlockCost("b", 1, 1, 4), BlockCost("c", 2, 1, 1)]
    queue = LptScheduler().schedule(costs, make_workers(2)).shared
    assert [job.blocks for job in queue] == [("b",), ("a",), ("c",)]


def test_equal_jobs_keep_the_order_of_the_chain() -> None:
    queue = LptScheduler().schedule(training(a=2, b=2, c=2), make_workers(1)).shared
    assert [job.blocks for job in queue] == [("a",), ("b",), ("c",)]


def test_grahams_worst_case_is_as_bad_as_he_proved() -> None:
    costs = training(a=3, b=3, c=2, d=2, e=2)
    schedule = LptScheduler().schedule(costs, make_workers(2))
    # Best: 3 + 3 beside 2 + 2 + 2. Longest first: 3 + 2 + 2 beside 3 + 2.
    assert worker_seconds(schedule, costs, make_workers(2)) == [7, 5]
    assert makespan(schedule, costs, make_workers(2)) / 6 == pytest.approx(4 / 3 - 1 / (3 * 2))


def test_a_slow_worker_takes_fewer_jobs() -> None:
    costs = training(a=2, b=2, c=2, d=2)
    workers = [Worker(0), Worker(1, speed=0.5)]
    schedule = LptScheduler().schedule(costs, workers)
    # Worker 0 is free after 2 s, both after 4 s, when worker 0 has the last job: 6 s against 4 s.
    assert worker_seconds(schedule, costs, workers) == [6, 4]


def test_it_is_registered() -> None:
    assert [scheduler.name for scheduler in register_schedulers()] == ["lpt-scheduler"]
