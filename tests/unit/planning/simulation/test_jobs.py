from __future__ import annotations

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.cluster import Device, Nodes
from pbkd.planning.simulation.jobs import job_ends, writing_seconds

COSTS = [BlockCost("a", 0, 0, 10), BlockCost("b", 0, 0, 4), BlockCost("c", 0, 0, 6)]


def devices(*speeds: float, contention: float = 0.0, node: str = "x") -> list[Device]:
    nodes = Nodes("x", devices=len(speeds), contention=contention)
    return [
        Device(Worker(rank, speed=speed, node=node), nodes) for rank, speed in enumerate(speeds)
    ]


def own(*names: str) -> Schedule:
    return Schedule(tuple((Job((name,)),) for name in names))


def test_busy_devices_of_a_node_slow_each_other_until_one_is_done() -> None:
    # Both at two thirds of their speed for 6 s, after which one has 6 s of work left.
    assert job_ends(own("a", "b"), COSTS, devices(1, 1, contention=0.5)) == [12, 6]
    assert job_ends(own("a", "b"), COSTS, devices(1, 1)) == [10, 4]


def test_devices_of_other_nodes_do_not() -> None:
    apart = devices(1, contention=0.5) + devices(1, contention=0.5, node="y")
    assert job_ends(own("a", "b"), COSTS, apart) == [10, 4]


def test_who_is_free_first_claims_the_next_shared_job() -> None:
    schedule = Schedule(((), ()), shared=(Job(("a",)), Job(("b",)), Job(("c",))))
    assert job_ends(schedule, COSTS, devices(1, 1)) == [10, 10]
    assert job_ends(schedule, COSTS, devices(1, 0.25)) == [16, 16]


def test_a_claimed_job_slows_the_others_again() -> None:
    schedule = Schedule(((), ()), shared=(Job(("a",)), Job(("b",)), Job(("c",))))
    assert job_ends(schedule, COSTS, devices(1, 1, contention=0.5)) == pytest.approx([15, 15])


def test_a_device_without_a_job_takes_no_time() -> None:
    assert job_ends(own("a"), COSTS[:1], devices(1)) == [10]
    assert job_ends(Schedule(((), (Job(("a",)),))), COSTS, devices(1, 1)) == [0, 10]


def test_a_cache_is_written_in_equal_shares_as_fast_as_the_slowest() -> None:
    costs = [BlockCost("a", 1, 2, 10)]
    assert writing_seconds(costs, devices(1, 0.5), Workload(100, 7)) == 4 * 3 / 0.5
    assert writing_seconds(costs, devices(1, 1, contention=1), Workload(100, 8)) == 4 * 3 * 2
