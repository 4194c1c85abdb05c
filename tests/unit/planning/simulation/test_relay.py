from __future__ import annotations

from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.planning.cluster import Device, Nodes
from pbkd.planning.simulation.relay import relay_times

EACH = Schedule(tuple((Job((name,)),) for name in "abcd"), feed="relay")


def costs(seconds: float, moved: int, gradients: int = 0, names: str = "abcd") -> list[BlockCost]:
    """Blocks that take so many seconds, half of them the teacher's, and bytes between them."""
    half = seconds / 2
    return [
        BlockCost(name, half * index, half, half, moved, gradients)
        for index, name in enumerate(names)
    ]


def make_workers(*nodes: str, overlap: bool = True, contention: float = 0.0) -> list[Device]:
    """Devices by the names of their nodes, with links of a byte per second between nodes."""
    kind = Nodes("x", contention=contention, latency=0)
    links: dict[str, Any] = {
        "bandwidth": 1.0,
        "latency": 0.0,
        "node_bandwidth": 100.0,
        "node_latency": 0.0,
    }
    return [
        Device(Worker(rank, node=node, overlap=overlap, **links), kind)
        for rank, node in enumerate(nodes)
    ]


def pace(schedule: Schedule, blocks: list[BlockCost], devices: list[Device]) -> float:
    long, short = (relay_times(schedule, blocks, devices, steps).seconds for steps in (250, 150))
    return (long - short) / 100


def test_messages_are_hidden_behind_computing_where_devices_overlap() -> None:
    assert pace(EACH, costs(3, 2), make_workers(*"pqrs")) == pytest.approx(3)
    assert pace(EACH, costs(3, 2), make_workers(*"pqrs", overlap=False)) == pytest.approx(3 + 2 + 2)
    # The last stage gets its first input after three computations and three messages.
    assert relay_times(EACH, costs(3, 2), make_workers(*"pqrs"), 1).seconds == pytest.approx(
        4 * 3 + 3 * 2
    )


def test_a_slow_link_sets_the_pace() -> None:
    assert pace(EACH, costs(3, 5), make_workers(*"pqrs")) == pytest.approx(5)


def test_messages_inside_a_node_are_quick() -> None:
    assert pace(EACH, costs(3, 50), make_workers(*"pppp")) == pytest.approx(3)


def test_messages_over_one_nodes_link_follow_each_other() -> None:
    # From p to q go the first and the third message.
    assert pace(EACH, costs(3, 2), make_workers(*"pqpq")) == pytest.approx(4)


def test_a_team_of_two_nodes_adds_up_gradients_over_the_link_of_its_messages() -> None:
    replicas = (Job(("a",)),)
    schedule = Schedule((replicas, replicas, (Job(("b",)),)), feed="relay")
    devices = make_workers(*"pqr")
    blocks = costs(2, 4, gradients=1, names="ab")
    # From each node go 2 s of gradients and 2 of the 4 bytes, which both go into the third.
    assert pace(schedule, blocks, devices) == pytest.approx(2 + 2)


def test_stages_on_one_node_slow_each_other() -> None:
    assert pace(EACH, costs(3, 0), make_workers(*"pppp", contention=0.1)) == pytest.approx(3 * 1.3)


def test_the_stage_that_sets_the_pace_is_named() -> None:
    blocks = [BlockCost("a", 0, 1, 1), BlockCost("b", 1, 1, 9), BlockCost("c", 2, 1, 1)]
    schedule = Schedule(tuple((Job((name,)),) for name in "abc"), feed="relay")
    times = relay_times(schedule, blocks, make_workers(*"pqr"), 50)
    assert (times.slowest, times.busy) == (1, (2, 10, 2))
    assert times.seconds == pytest.approx(2 + 50 * 10 + 2)


def test_steps_that_are_not_simulated_take_the_steady_pace() -> None:
    blocks = costs(3, 2)
    few, many = (
        relay_times(EACH, blocks, make_workers(*"pqpq"), n).seconds for n in (320, 100_000)
    )
    assert many - few == pytest.approx(4 * (100_000 - 320))
