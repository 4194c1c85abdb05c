from __future__ import annotations

from pbkd_cached import Cached, register_schedulers

from pbkd import BlockCost, Worker, Workload
from pbkd.planning import makespan, worker_seconds
from pbkd.testing import check_scheduler

COSTS = [BlockCost("a", 0, 9, 2), BlockCost("b", 9, 9, 5), BlockCost("c", 18, 9, 4)]


def test_it_keeps_the_contract() -> None:
    check_scheduler(Cached())


def test_only_training_counts() -> None:
    workers = [Worker(0), Worker(1)]
    schedule = Cached().schedule(COSTS, workers)
    assert schedule.feed == "cache"
    assert [[job.blocks for job in jobs] for jobs in schedule.assigned] == [[("b",)], [("a", "c")]]
    assert worker_seconds(schedule, COSTS, workers) == [5, 6]


def test_the_teacher_runs_once_over_the_images_shared_by_all_workers() -> None:
    workers = [Worker(0), Worker(1)]
    schedule = Cached().schedule(COSTS, workers)
    assert makespan(schedule, COSTS, workers, Workload(100, 10)) == 6 * 100 + 27 * 10 / 2


def test_a_slow_worker_gets_less() -> None:
    schedule = Cached().schedule(COSTS, [Worker(0, speed=0.1), Worker(1)])
    assert [len(jobs) for jobs in schedule.assigned] == [0, 1]


def test_it_is_registered() -> None:
    assert register_schedulers() == [Cached]


def test_reading_counts_and_a_read_boundary_is_not_free() -> None:
    costs = [BlockCost("a", 0, 1, 2, read_seconds=3), BlockCost("b", 1, 1, 4)]
    workers = [Worker(0)]
    assert worker_seconds(Cached().schedule(costs, workers), costs, workers) == [9]
    # Alone on a worker each, the block that reads is the heavier one.
    costs.append(BlockCost("c", 2, 1, 1))
    jobs = Cached().schedule(costs, [Worker(0), Worker(1)]).assigned
    assert [job.blocks for (job,) in jobs] == [("a",), ("b", "c")]


def test_without_room_for_a_cache_the_teachers_passes_are_balanced_too() -> None:
    workers = [Worker(0), Worker(1)]
    for room, jobs in ((None, [("b",), ("a", "c")]), (0, [("c",), ("a", "b")])):
        schedule = Cached().schedule(COSTS, workers, Workload(100, 10, 10, cache_bytes=room))
        assert schedule.feed == ("cache" if room is None else "recompute")
        assert sorted(job.blocks for (job,) in schedule.assigned) == sorted(jobs)
