from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pbkd_pipeline import Pipeline, register_schedulers

from pbkd import BlockCost, Job, Schedule, Worker, Workload
from pbkd.planning import makespan, stage_load, stage_seconds, worker_seconds
from pbkd.testing import check_schedule, check_scheduler, tiny_costs

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each segment takes the teacher 1 s and its replacement 2 s; what flows between weighs nothing.
# Workers that shared a span would wait for each other for minutes.
ALONE = 100_000
EVEN = [BlockCost(name, index, 1, 2, 0, 0, ALONE) for index, name in enumerate("abcdef")]


def spans(
    costs: list[BlockCost], group: list[Worker]
) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    schedule = Pipeline().schedule(costs, group)
    return [(stage.job.blocks, stage.ranks) for stage in schedule.stages]


def best_by_trying(
    costs: list[BlockCost], group: list[Worker], first: int = 0, used: int = 0
) -> float:
    """The slowest stage of the best of all relays from a block on, over workers not yet used."""
    if first == len(costs):
        return 0.0
    return min(
        (
            max(
                stage_seconds(stage_load(costs, first, last), group[start:stop]),
                best_by_trying(costs, group, last + 1, stop),
            )
            for last in range(first, len(costs))
            for start in range(used, len(group))
            for stop in range(start + 1, len(group) + 1)
        ),
        default=float("inf"),
    )


def test_it_keeps_the_contract() -> None:
    check_scheduler(Pipeline())
    check_scheduler(Pipeline(), tiny_costs(54), workers=64)


def test_even_blocks_are_cut_evenly() -> None:
    assert spans(EVEN, [Worker(0), Worker(1)]) == [(("a", "b", "c"), (0,)), (("d", "e", "f"), (1,))]
    group = [Worker(rank) for rank in range(2)]
    # A message each, of a millisecond.
    assert worker_seconds(Pipeline().schedule(EVEN, group), EVEN, group) == [9.001, 9.001]


def test_the_kept_segments_before_a_block_run_on_the_worker_that_sends() -> None:
    costs = [BlockCost("a", 1, 1, 2, 0, 0, ALONE), BlockCost("b", 5, 1, 2, 0, 0, ALONE)]
    group = [Worker(0, latency=0), Worker(1, latency=0)]
    schedule = Schedule(((Job(("a",)),), (Job(("b",)),)), feed="relay")
    # 3 s of kept segments lie between the two blocks.
    assert worker_seconds(schedule, costs, group) == [1 + 1 + 3 + 2, 1 + 2]


def test_a_wide_activation_is_not_cut() -> None:
    costs = [
        BlockCost("a", 0, 1, 2, 0, 0, ALONE),
        BlockCost("b", 1, 1, 2, int(9e9), 0, ALONE),
        BlockCost("c", 2, 1, 2, 1, 0, ALONE),
    ]
    assert spans(costs, [Worker(0), Worker(1)]) == [(("a", "b"), (0,)), (("c",), (1,))]


def test_a_heavy_block_gets_several_workers() -> None:
    costs = [
        BlockCost("a", 0, 1, 2, 0, 0, ALONE),
        BlockCost("b", 1, 10, 20, 0, 0, 10),
        BlockCost("c", 11, 1, 2, 0, 0, ALONE),
    ]
    group = [Worker(rank) for rank in range(6)]
    stages = dict(spans(costs, group))
    assert len(stages[("b",)]) == 4
    # Its share of 30 s, two messages and ten exchanges, of a millisecond each.
    seconds = max(worker_seconds(Pipeline().schedule(costs, group), costs, group))
    assert seconds == pytest.approx(30 / 4 + 0.002 + 0.01)


def test_what_does_not_shrink_with_the_batch_is_not_shared() -> None:
    cost = BlockCost("a", 0, 1, 2, overhead_seconds=2)
    group = [Worker(rank, latency=0) for rank in range(2)]
    (seconds, _) = worker_seconds(Pipeline().schedule([cost], group), [cost], group)
    assert seconds == pytest.approx(1 / 2 + 2)


def test_no_more_workers_share_a_batch_than_it_has_rows() -> None:
    cost = BlockCost("a", 0, 1, 2, rows=3)
    schedule = Pipeline().schedule([cost], [Worker(rank, latency=0) for rank in range(8)])
    assert [len(jobs) for jobs in schedule.assigned].count(1) == 3


def test_sharing_that_costs_more_than_it_saves_leaves_workers_idle() -> None:
    costs = [BlockCost("a", 0, 1e-4, 1e-4, 0, 0, 6)]
    schedule = Pipeline().schedule(costs, [Worker(rank) for rank in range(4)])
    assert [len(jobs) for jobs in schedule.assigned].count(1) == 1


costs_of_chains = st.lists(
    st.tuples(
        st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.integers(0, 10**10),
        st.integers(0, 10**9), st.integers(0, 1000),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


def chain(rows: list[tuple[float, float, float, int, int, int]]) -> list[BlockCost]:
    costs, prefix = [], 0.0
    for index, (gap, teacher, train, *sizes) in enumerate(rows):
        prefix += gap
        costs.append(BlockCost(f"block{index}", prefix, teacher, train, *sizes))
        prefix += teacher
    return costs


@settings(deadline=None)
@given(rows=costs_of_chains, speeds=st.lists(st.floats(0.1, 10), min_size=1, max_size=4))
def test_it_is_the_best_of_all_relays(
    rows: list[tuple[float, float, float, int, int, int]], speeds: list[float]
) -> None:
    costs = chain(rows)
    group = [Worker(rank, speed=speed) for rank, speed in enumerate(speeds)]
    schedule = Pipeline().schedule(costs, group)
    check_schedule(schedule, costs, len(group))
    assert max(worker_seconds(schedule, costs, group)) == pytest.approx(
        best_by_trying(costs, group)
    )


@settings(deadline=None)
@given(
    rows=costs_of_chains,
    nodes=st.lists(st.tuples(st.integers(1, 3), st.floats(0.5, 2)), min_size=1, max_size=3),
    faster=st.floats(1, 100),
    overlap=st.booleans(),
)
def test_it_is_the_best_of_all_relays_over_nodes(
    rows: list[tuple[float, float, float, int, int, int]],
    nodes: list[tuple[int, float]],
    faster: float,
    overlap: bool,
) -> None:
    costs = chain(rows[:4])
    group: list[Worker] = []
    for index, (count, speed) in enumerate(nodes):
        for _ in range(count):
            worker = Worker(
                len(group),
                speed=speed,
                node=f"node{index}",
                node_bandwidth=faster * 1e9,
                node_latency=1e-3 / faster,
                overlap=overlap and index < 2,
            )
            group.append(worker)
    group = group[:5]
    schedule = Pipeline().schedule(costs, group)
    check_schedule(schedule, costs, len(group))
    assert max(worker_seconds(schedule, costs, group)) == pytest.approx(
        min(max(worker_seconds(relay, costs, group)) for relay in all_relays(costs, len(group)))
    )


def all_relays(costs: list[BlockCost], workers: int) -> Iterator[Schedule]:
    """Every way to give each of neighbouring workers a span, the same one, or none."""
    names = [cost.name for cost in costs]

    def spans(first: int, rank: int) -> Iterator[list[tuple[Job, ...]]]:
        if rank == workers:
            if first == len(names):
                yield []
            return
        for rest in spans(first, rank + 1):
            yield [(), *rest]
        for last in range(first + 1, len(names) + 1):
            job = (Job(tuple(names[first:last])),)
            for stop in range(rank + 1, workers + 1):
                for rest in spans(last, stop):
                    yield [*[job] * (stop - rank), *rest]

    for assigned in spans(0, 0):
        yield Schedule(tuple(assigned), feed="relay")


def test_the_narrowest_cut_lies_between_the_nodes() -> None:
    wide, narrow = int(1e8), int(1e6)
    costs = [
        BlockCost(name, index, 1, 2, narrow if name == "f" else wide, 0, ALONE)
        for index, name in enumerate("abcdefgh")
    ]
    group = [
        Worker(rank, node=node, bandwidth=1e7, node_bandwidth=1e12)
        for rank, node in enumerate("xxyy")
    ]
    # Four even spans would send the wide input of e from x to y, which takes 10 s.
    firsts = {rank: blocks[0] for blocks, ranks in spans(costs, group) for rank in ranks}
    assert firsts[2] == "f"


@settings(deadline=None)
@given(count=st.integers(1, 12), blocks=st.integers(1, 12))
def test_another_worker_never_makes_the_slowest_stage_slower(count: int, blocks: int) -> None:
    costs = tiny_costs(blocks)
    seconds = [
        max(worker_seconds(Pipeline().schedule(costs, group), costs, group))
        for group in ([Worker(r) for r in range(count)], [Worker(r) for r in range(count + 1)])
    ]
    assert seconds[1] <= seconds[0]


def test_one_worker_does_everything_in_one_pass() -> None:
    assert spans(EVEN, [Worker(0)]) == [(("a", "b", "c", "d", "e", "f"), (0,))]
    assert (
        makespan(Pipeline().schedule(EVEN, [Worker(0)]), EVEN, [Worker(0)], Workload(10, 10)) == 180
    )


def test_it_is_registered() -> None:
    assert register_schedulers() == [Pipeline]
