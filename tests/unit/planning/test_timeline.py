from __future__ import annotations

import pytest

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.planning.cost_model import makespan
from pbkd.planning.timeline import job_lanes, timeline

COSTS = [
    BlockCost("a", 0, 2, 3, input_bytes=2),
    BlockCost("b", 2, 1, 3, input_bytes=2),
    BlockCost("c", 3, 1, 2, input_bytes=2),
]
WORKERS = [Worker(0, bandwidth=1, latency=0), Worker(1, bandwidth=1, latency=0)]
AB, C = Job(("a", "b")), Job(("c",))


def test_a_workers_jobs_come_with_their_teacher_passes() -> None:
    lanes = job_lanes(Schedule(((AB,), (C,))), COSTS, WORKERS, Workload(10, 1))
    assert lanes == [[(AB, 90.0)], [(C, 60.0)]]
    one, two, three = (Job((name,)) for name in "abc")
    lanes = job_lanes(Schedule(((), ()), shared=(one, two, three)), COSTS, WORKERS, Workload(1, 1))
    assert lanes == [[(one, 5.0), (three, 6.0)], [(two, 6.0)]]


@pytest.mark.parametrize("feed", ["recompute", "relay", "cache"])
def test_nothing_of_a_workers_time_is_left_out(feed: str) -> None:
    schedule = Schedule(((AB,), (C,)), feed=feed)
    bars = timeline(schedule, COSTS, WORKERS, Workload(4, 2))
    lanes = job_lanes(schedule, COSTS, WORKERS, Workload(4, 2))
    assert [[job for job, _ in lane] for lane in lanes] == [[AB], [C]]
    for worker, lane in enumerate(lanes):
        busy = sum(bar.seconds for bar in bars if bar.worker == worker)
        assert sum(seconds for _, seconds in lane) == pytest.approx(busy)


def test_of_the_rest_of_a_phase_only_the_unfinished_blocks_have_bars() -> None:
    done = [BlockCost("0", 0, 7, 9, input_bytes=2), BlockCost("b2", 3, 5, 5, input_bytes=2)]
    whole = [done[0], *COSTS[:2], done[1], COSTS[2]]
    schedule = Schedule(((AB,), (C,)), feed="relay")
    for find in (makespan, timeline, job_lanes):
        rest = find(schedule, COSTS, WORKERS, Workload(4, 2))
        assert find(schedule, whole, WORKERS, Workload(4, 2)) == rest
