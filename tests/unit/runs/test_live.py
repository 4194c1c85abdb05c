from __future__ import annotations

from typing import Any

import pytest

from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    EpochDone,
    Event,
    JobStarted,
    Note,
    PhaseStarted,
    PlanMade,
    PlannedJob,
    PlannedWorker,
    PowerRead,
    Restarted,
    Resumed,
    StepsDone,
    TeacherScored,
)
from pbkd.runs.live import LiveRun, worker_lanes

PLAN = PlanMade(
    time=0.0,
    folder="runs/a",
    scheduler="greedy",
    feed="cache",
    seconds=30.0,
    workers=(PlannedWorker(rank=0, device="cpu"), PlannedWorker(rank=1, device="cpu")),
    blocks=("a", "b", "c"),
    epochs={"teacher-fed": 4, "student-fed": 2, "fine-tuning": 3},
    totals={"teacher-fed": 16, "student-fed": 6, "fine-tuning": 3},
    lanes=(
        (PlannedJob(blocks=("a",), seconds=10.0), PlannedJob(blocks=("b",), seconds=20.0)),
        (PlannedJob(blocks=("c",), seconds=25.0),),
    ),
)


def run(*events: Event) -> LiveRun:
    state = LiveRun()
    for event in (PLAN, PhaseStarted(time=100.0, phase="teacher-fed"), *events):
        state.see(event)
    return state


def job(time: float, worker: int | None, *blocks: str, **changes: Any) -> JobStarted:
    sizes: dict[str, Any] = {
        "phase": "teacher-fed",
        "begun": 0,
        "epochs": 4,
        "steps": 10,
        "images": 64,
    }
    return JobStarted(time=time, worker=worker, blocks=blocks, **(sizes | changes))


def epoch(time: float, worker: int, block: str, number: int, loss: float) -> EpochDone:
    return EpochDone(
        time=time, worker=worker, phase="teacher-fed", block=block, epoch=number, loss=loss
    )


def block(worker: int, name: str, **changes: Any) -> BlockTrained:
    known = {"losses": (1.0,) * 4, "failure": None, "job_seconds": 1.0, "checksum": None}
    return BlockTrained(
        time=0.0, phase="teacher-fed", worker=worker, block=name, **(known | changes)
    )


def test_speed_and_time_left_are_those_of_the_job_in_hand_and_of_the_plan() -> None:
    state = run(job(100, 0, "a"), epoch(105, 0, "a", 1, 0.5))
    first, second = worker_lanes(state, 106)
    assert first.job
    assert (first.job.epoch, first.job.epochs, first.loss) == (2, 4, 0.5)
    assert first.job.images_per_second == pytest.approx(10 * 64 / 5)
    # Of four epochs of 5 s one is over, and a second of the next. It was to take 10 s, so b, which
    # was to take 20 s, will take 40 s.
    assert first.seconds_left == pytest.approx(15 - 1 + 40)
    assert first.bar == [(10.0, 0.25), (20.0, 0.0)]
    assert (second.job, second.seconds_left, second.bar) == (None, None, [(25.0, 0.0)])


def test_steps_are_counted_within_an_epoch() -> None:
    state = run(job(100, 1, "c"), StepsDone(time=105.0, worker=1, phase="teacher-fed", steps=15))
    _, lane = worker_lanes(state, 105)
    assert lane.job
    assert (lane.job.epoch, lane.loss) == (2, None)
    assert lane.job.images_per_second == pytest.approx(15 * 64 / 5)
    assert lane.seconds_left == pytest.approx(25 / 3)
    assert lane.bar == [(25.0, 15 / 40)]
    # of before a restart
    state.see(StepsDone(time=106.0, worker=1, phase="teacher-fed", steps=9))
    state.see(StepsDone(time=107.0, worker=1, phase="student-fed", steps=30))
    assert lane.job.done == 15


def test_speed_is_that_of_late_not_of_the_start() -> None:
    slow, fast = [10.0 * n for n in range(1, 4)], [30.0 + n for n in range(1, 7)]
    times = [100 + time for time in (*slow, *fast)]
    epochs = [epoch(time, 0, "a", number, 1.0) for number, time in enumerate(times, 1)]
    state = run(job(100, 0, "a", epochs=20), *epochs)
    assert state.jobs[0].images_per_second == pytest.approx(10 * 64 / 1)


def test_a_job_is_in_hand_until_its_last_block_is_done() -> None:
    state = run(job(100, 0, "a", "b"), epoch(102, 0, "a", 1, 0.2), epoch(102, 0, "b", 1, 0.4))
    lane, _ = worker_lanes(state, 102)
    assert lane.job
    assert lane.job.blocks == ("a", "b")
    assert lane.loss == pytest.approx(0.3)
    state.see(block(0, "a"))
    assert state.jobs[0].blocks == ("b",)
    assert state.done("teacher-fed") == 4 + 1
    state.see(block(0, "b", failure="it diverged", losses=(0.4, float("nan"))))
    assert state.jobs == {}
    assert state.done("teacher-fed") == 8
    assert worker_lanes(state, 103)[0].bar == [(10.0, 1.0), (20.0, 1.0)]


def test_workers_that_share_a_job_are_done_with_it_together() -> None:
    state = run(job(100, 0, "a", images=32), job(100, 1, "a", images=32), epoch(104, 0, "a", 1, 1))
    assert [lane.job and lane.job.images_per_second for lane in worker_lanes(state, 104)] == [
        80,
        80,
    ]
    state.see(block(0, "a"))
    assert [lane.job for lane in worker_lanes(state, 104)] == [None, None]


def test_candidates_count_towards_their_blocks_job() -> None:
    state = run(job(100, 0, "a", "a.1"))
    for name in ("a", "a.1"):
        state.see(epoch(101, 0, name, 1, 1.0))
    assert worker_lanes(state, 101)[0].bar[0] == (10.0, 0.25)
    for name in ("a", "a.1"):
        state.see(block(0, name))
    assert worker_lanes(state, 101)[0].bar == [(10.0, 1.0), (20.0, 0.0)]


def test_a_job_goes_on_from_where_it_was_left() -> None:
    state = run(epoch(10, 0, "a", 2, 1.0), job(100, 0, "a", begun=2))
    lane, _ = worker_lanes(state, 100)
    assert lane.job
    assert (lane.job.epoch, lane.job.images_per_second) == (3, None)
    assert lane.bar[0] == (10.0, 0.5)
    state.see(epoch(104, 0, "a", 3, 1.0))
    assert lane.job.images_per_second == pytest.approx(10 * 64 / 4)


def test_a_job_of_which_nothing_is_left_is_not_in_hand() -> None:
    assert run(job(100, 0, "a"), job(101, 0, begun=4)).jobs == {}


def test_a_phase_that_begins_and_a_plan_made_anew_leave_nothing_in_hand() -> None:
    for event in (PhaseStarted(time=200.0, phase="student-fed"), PLAN):
        state = run(job(100, 0, "a"), epoch(101, 0, "a", 1, 1.0), event)
        assert state.jobs == {}
        assert state.done("teacher-fed") == 1
    assert worker_lanes(state, 200)[0].bar[0] == (10.0, 0.25)


def test_the_host_fine_tunes() -> None:
    phase = "fine-tuning"
    state = run(
        PhaseStarted(time=300.0, phase=phase),
        job(300, None, "student", phase=phase, epochs=3),
        EpochDone(
            time=301.0, worker=None, phase=phase, block="student", epoch=1, loss=0.7, accuracy=0.9
        ),
    )
    (lane,) = worker_lanes(state, 301)
    assert (lane.worker, lane.loss, lane.seconds_left) == (None, 0.7, 2.0)
    assert lane.bar == [(1.0, 1 / 3)]
    assert state.done("fine-tuning") == 1


def test_events_that_say_nothing_of_progress_are_passed_over() -> None:
    state = run(job(100, 0, "a"))
    before = repr(state)
    others: list[Event] = [
        Note(text="a note"),
        BlockScored(block="a", solo_drop=0.0, reason=None),
        Restarted(reason="killed"),
        TeacherScored(name="vgg", images=1, accuracy=None, cut="vgg"),
        Resumed(),
    ]
    for event in others:
        state.see(event)
    assert repr(state) == before
    state.see(PowerRead(watts={"gpu0": 71.5}))
    assert state.watts == {"gpu0": 71.5}
