from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd_round_robin import RoundRobin, register_schedulers

from pbkd import BlockCost, Job, Worker
from pbkd.planning import makespan
from pbkd.testing import check_scheduler, tiny_costs

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_workers(count: int) -> list[Worker]:
    return [Worker(rank) for rank in range(count)]


def hands(costs: Sequence[BlockCost], workers: int) -> list[list[tuple[str, ...]]]:
    schedule = RoundRobin().schedule(costs, make_workers(workers))
    assert schedule.shared == ()
    return [[job.blocks for job in jobs] for jobs in schedule.assigned]


def test_it_keeps_the_contract() -> None:
    check_scheduler(RoundRobin())


def test_blocks_are_dealt_out_in_turn_and_a_hand_is_one_job() -> None:
    assert hands(tiny_costs(5), 2) == [
        [("block0", "block2", "block4")],
        [("block1", "block3")],
    ]


def test_what_a_block_costs_changes_nothing() -> None:
    costs = [BlockCost("a", 0, 9, 99), BlockCost("b", 9, 1, 1), BlockCost("c", 10, 1, 1)]
    assert hands(costs, 2) == [[("a", "c")], [("b",)]]


def test_a_worker_too_many_has_no_job() -> None:
    assert hands(tiny_costs(2), 3) == [[("block0",)], [("block1",)], []]


def test_the_blocks_of_a_hand_share_its_teacher_pass() -> None:
    costs = [BlockCost("a", 0, 1, 4), BlockCost("b", 1, 1, 4), BlockCost("c", 2, 1, 4)]
    schedule = RoundRobin().schedule(costs, make_workers(2))
    assert schedule.assigned == ((Job(("a", "c")),), (Job(("b",)),))
    # Worker 0 runs the teacher once, through all three blocks (3 s), and trains two (8 s).
    assert makespan(schedule, costs, make_workers(2)) == 11


def test_it_is_registered() -> None:
    assert [scheduler.name for scheduler in register_schedulers()] == ["round-robin"]
