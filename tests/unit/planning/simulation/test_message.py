from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbkd.core.schedule import Worker
from pbkd.planning.simulation.message import Message, message_between


def make_workers(*nodes: str, first: int = 0) -> list[Worker]:
    links: dict[str, Any] = {
        "bandwidth": 1.0,
        "latency": 0.5,
        "node_bandwidth": 10.0,
        "node_latency": 0.1,
    }
    return [Worker(first + rank, node=node, **links) for rank, node in enumerate(nodes)]


def test_a_message_takes_the_links_of_both_nodes() -> None:
    message = message_between(make_workers("p", "p"), make_workers("q", first=2), 6)
    assert message == Message({("out", "p"): 6, ("in", "q"): 6}, 0, 0.5)


def test_what_stays_in_a_node_takes_no_port() -> None:
    message = message_between(make_workers("p", "p"), make_workers("p", "q", first=2), 6)
    assert message == Message({("out", "p"): 3, ("in", "q"): 3}, 3 / 10, 0.5)
    within = message_between(make_workers("p", "p"), make_workers("p", first=2), 6)
    assert within == Message({}, 6 / 10, 0.1)  # all of it goes into one device


def test_workers_without_a_node_have_a_link_each() -> None:
    message = message_between(make_workers("", ""), make_workers("", first=2), 6)
    assert message.ports == {("out", "worker 0"): 3, ("out", "worker 1"): 3, ("in", "worker 2"): 6}
    assert message.seconds == 6


@given(senders=st.integers(1, 9), receivers=st.integers(1, 9))
def test_every_row_goes_somewhere(senders: int, receivers: int) -> None:
    nodes = [f"n{index}" for index in range(senders + receivers)]
    message = message_between(
        make_workers(*nodes[:senders]), make_workers(*nodes[senders:], first=senders), 720
    )
    for way, count in (("out", senders), ("in", receivers)):
        loads = [seconds for port, seconds in message.ports.items() if port[0] == way]
        assert loads == [pytest.approx(720 / count)] * count
