from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.planning.cost_model import worker_seconds
from pbkd.planning.stage_cost import StageLoad, StageParts, stage_parts, stage_workers

LOAD = StageLoad(
    seconds=8.0,
    overhead=2.0,
    received=100.0,
    receives=1.0,
    sent=40.0,
    sends=1.0,
    gradients=30.0,
    exchanges=3.0,
)


def worker(node: str = "", speed: float = 1.0) -> Worker:
    links: dict[str, Any] = {
        "bandwidth": 10.0,
        "latency": 1.0,
        "node_bandwidth": 20.0,
        "node_latency": 0.5,
    }
    return Worker(0, speed=speed, node=node, **links)


def test_a_worker_alone_adds_up_no_gradients() -> None:
    parts = stage_parts(LOAD, stage_workers([worker()]))
    assert (parts.work, parts.overhead) == (6, 2)
    assert (parts.receiving, parts.sending) == (10 + 1, 4 + 1)
    assert (parts.gradients, parts.waiting) == (0, 0)
    assert parts.seconds == 8 + 11 + 5


def test_workers_share_all_but_what_does_not_shrink_at_the_pace_of_the_slowest() -> None:
    parts = stage_parts(LOAD, stage_workers([worker(speed=4), worker(speed=2)]))
    assert (parts.work, parts.overhead) == (6 / 2 / 2, 2 / 2)
    assert (parts.gradients, parts.waiting) == (2 * 30 / 10, 3 * 1)


def test_within_a_node_every_worker_has_a_link_of_its_own() -> None:
    replicas = [worker("a"), worker("a")]
    parts = stage_parts(LOAD, stage_workers(replicas, [worker("a")], [worker("b")]))
    assert parts.receiving == 100 / (2 * 20) + 0.5
    assert parts.sending == 40 / 10 + 1  # the node's one link
    assert (parts.gradients, parts.waiting) == (2 * 30 / 20, 3 * 0.5)


def test_a_team_of_two_nodes_has_two_links_and_adds_up_over_them() -> None:
    replicas = [worker("a"), worker("a"), worker("b")]
    parts = stage_parts(LOAD, stage_workers(replicas, [worker("a")], [worker("b")]))
    # Two thirds of every batch go over the link of the node that has two of the three.
    assert parts.receiving == pytest.approx(100 * 2 / 3 / 10 + 1)
    assert parts.sending == pytest.approx(40 * 2 / 3 / 10 + 1)
    assert (parts.gradients, parts.waiting) == (2 * 30 / 10, 3 * 1)


def test_a_crew_that_overlaps_waits_only_for_what_takes_longer_than_its_work() -> None:
    def parts(received: float, sent: float) -> StageParts[float]:
        load = replace(LOAD, received=received, sent=sent)
        return stage_parts(load, stage_workers([replace(worker(), overlap=True)]))

    hidden, late, later = parts(60, 40), parts(100, 40), parts(100, 120)
    assert (hidden.receiving, hidden.sending, hidden.seconds) == (0, 0, 8)
    assert (late.receiving, late.sending, late.seconds) == (3, 0, 11)
    assert (later.receiving, later.sending, later.seconds) == (3, 2, 13)


def test_workers_without_a_node_have_a_link_each() -> None:
    parts = stage_parts(LOAD, stage_workers([worker(), worker()], [worker()]))
    assert parts.receiving == 100 / 20 + 1


def test_a_relays_stages_know_who_their_neighbours_are() -> None:
    costs = [BlockCost(name, index, 1, 1, 100) for index, name in enumerate("abc")]
    workers = [worker("x"), worker("y"), worker("y")]
    schedule = Schedule(tuple((Job((name,)),) for name in "abc"), feed="relay")
    far, near = 100 / 10 + 1, 100 / 20 + 0.5
    assert worker_seconds(schedule, costs, workers) == [2 + far, 2 + far + near, 2 + near]
