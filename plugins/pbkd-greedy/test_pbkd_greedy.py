from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd_greedy import Greedy, register_schedulers
from pbkd_round_robin import RoundRobin

from pbkd import BlockCost, Worker
from pbkd.planning import makespan, worker_seconds
from pbkd.testing import check_scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each segment takes the teacher 1 s and its replacement 2 s.
EVEN = [BlockCost("a", 0, 1, 2), BlockCost("b", 1, 1, 2), BlockCost("c", 2, 1, 2)]


def hands(costs: Sequence[BlockCost], workers: Sequence[Worker]) -> list[list[tuple[str, ...]]]:
    schedule = Greedy().schedule(costs, workers)
    assert schedule.shared == ()
    return [[job.blocks for job in jobs] for jobs in schedule.assigned]


def test_it_keeps_the_contract() -> None:
    check_scheduler(Greedy())


def test_each_block_goes_where_it_leaves_the_least_load() -> None:
    workers = [Worker(0), Worker(1)]
    # c: either worker would be at 3 + 2 = 5 s; the first takes it.
    # b: worker 0 would be at 5 + 2 = 7 s, worker 1 at 2 + 2 = 4 s; worker 1 takes it.
    # a: worker 0 would be at 7 s, worker 1, whose teacher passes there anyway, at 6 s.
    assert hands(EVEN, workers) == [[("c",)], [("a", "b")]]
    assert worker_seconds(Greedy().schedule(EVEN, workers), EVEN, workers) == [5, 6]


def test_a_slow_worker_gets_less() -> None:
    workers = [Worker(0), Worker(1, speed=0.5)]
    # c: 5 s against 10 s. b: 7 s against 8 s. a: 9 s against (1 + 2) / 0.5 = 6 s.
    assert hands(EVEN, workers) == [[("b", "c")], [("a",)]]


def test_a_dear_block_has_a_worker_for_itself() -> None:
    costs = [BlockCost("a", 0, 1, 1), BlockCost("b", 1, 1, 20), BlockCost("c", 2, 1, 1)]
    workers = [Worker(0), Worker(1)]
    assert hands(costs, workers) == [[("a", "c")], [("b",)]]
    assert worker_seconds(Greedy().schedule(costs, workers), costs, workers) == [5, 22]


def test_it_beats_the_cyclic_schedule_where_costs_differ() -> None:
    costs = [BlockCost(name, 0, 0, train) for name, train in zip("abcd", (1, 9, 1, 9), strict=True)]
    workers = [Worker(0), Worker(1)]
    # Cyclic: a and c on one worker (2 s), b and d on the other (18 s).
    assert makespan(RoundRobin().schedule(costs, workers), costs, workers) == 18
    assert makespan(Greedy().schedule(costs, workers), costs, workers) == 10


def test_one_worker_has_one_job_in_chain_order() -> None:
    assert hands(EVEN, [Worker(0)]) == [[("a", "b", "c")]]


def test_a_worker_too_many_has_no_job() -> None:
    assert hands(EVEN[:2], [Worker(rank) for rank in range(3)]) == [[("b",)], [("a",)], []]


def test_it_is_registered() -> None:
    assert [scheduler.name for scheduler in register_schedulers()] == ["greedy"]
