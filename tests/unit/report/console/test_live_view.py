from __future__ import annotations

import pytest

from pbkd.core.events import (
    EpochDone,
    Event,
    JobStarted,
    PhaseStarted,
    PlanMade,
    PlannedJob,
    PlannedWorker,
    PowerRead,
)
from pbkd.report.console.live_view import live_rows
from pbkd.runs.live import LiveRun

LONG = "features_3_conv_block_of_a_network_with_long_names"


def state(workers: int = 2) -> LiveRun:
    """Return a run of so many workers, each halfway through the first of its two jobs."""
    names = [LONG, *(f"conv{rank}" for rank in range(1, workers))]
    run = LiveRun()
    phase = "teacher-fed"
    plan = PlanMade(
        folder="runs/a",
        scheduler="greedy",
        feed="cache",
        seconds=30.0,
        workers=tuple(PlannedWorker(rank=rank, device="cpu") for rank in range(workers)),
        blocks=tuple(names),
        epochs={phase: 4},
        totals={phase: 8 * workers},
        lanes=tuple(
            (
                PlannedJob(blocks=(name,), seconds=20.0),
                PlannedJob(blocks=(f"{name}b",), seconds=10.0),
            )
            for name in names
        ),
    )
    events: list[Event] = [
        plan,
        PhaseStarted(time=0.0, phase=phase),
        PowerRead(watts={"cpu-package-0": 45.3, "gpu0": 250.0}),
    ]
    for worker, name in enumerate(names):
        events += [
            JobStarted(
                time=0.0,
                worker=worker,
                phase=phase,
                blocks=(name,),
                begun=0,
                epochs=4,
                steps=10,
                images=256,
            ),
            EpochDone(time=20.0, worker=worker, phase=phase, block=name, epoch=2, loss=0.0625),
        ]
    for event in events:
        run.see(event)
    return run


def rows(run: LiveRun, width: int, height: int = 24, *, ascii_only: bool = True) -> list[str]:
    return [row.plain for row in live_rows(run, 20.0, width, height, ascii_only=ascii_only)]


def test_a_run_has_a_row_for_its_phase_for_each_worker_and_for_its_power() -> None:
    assert rows(state(), 100) == [
        "teacher-fed: 4 of 16 epochs, 20 s, ETA 40 s",
        "worker  done                            block                     epoch    loss  images/s"
        "   ETA",
        f"0       {'#' * 10}{'-' * 20}  {LONG[:22]}..    3/4  0.0625       256  40 s",
        f"1       {'#' * 10}{'-' * 20}  {'conv1':24}    3/4  0.0625       256  40 s",
        "power: cpu-package-0 45 W, gpu0 250 W",
    ]


def test_columns_are_left_out_one_after_another_as_it_gets_narrow() -> None:
    everything = ["worker", "done", "block", "epoch", "loss", "images/s", "ETA"]
    wanted = {
        80: everything,
        70: [head for head in everything if head != "images/s"],
        48: ["worker", "done", "block", "epoch", "ETA"],
        40: ["worker", "block", "epoch", "ETA"],
        30: ["worker", "block", "epoch"],
        9: ["worker"],
    }
    assert {width: rows(state(), width)[1].split() for width in wanted} == wanted


@pytest.mark.parametrize("ascii_only", [True, False])
def test_no_row_is_as_wide_as_the_terminal_and_there_are_fewer_than_it_has(
    ascii_only: bool,
) -> None:
    run = state(workers=9)
    for width in range(1, 140):
        for height in (1, 2, 5, 6, 8, 13, 40):
            shown = rows(run, width, height, ascii_only=ascii_only)
            assert len(shown) < max(height, 1) or not shown
            assert all(len(row) < width and row == row.rstrip() for row in shown)
            assert all(row.isascii() for row in shown) or not ascii_only


def test_workers_that_there_is_no_room_for_are_counted() -> None:
    shown = rows(state(workers=9), 80, height=8)
    assert [row.split()[0] for row in shown[1:5]] == ["worker", "0", "1", "2"]
    assert shown[5:] == ["and 6 more workers", "power: cpu-package-0 45 W, gpu0 250 W"]


def test_longer_jobs_have_longer_bars() -> None:
    run = state()
    run.planned[1] = (PlannedJob(blocks=("conv1",), seconds=15.0),)
    first, second = (row.split()[1] for row in rows(run, 100)[2:4])
    assert (len(first), len(second)) == (30, 15)
    assert second == "#" * 7 + "-" * 8
    assert "█" in rows(run, 100, ascii_only=False)[2]


def test_there_is_nothing_to_show_before_the_first_phase_and_no_table_without_jobs() -> None:
    run = LiveRun()
    assert rows(run, 80) == []
    run.see(PhaseStarted(time=17.0, phase="planning"))
    assert rows(run, 80) == ["planning: 3 s"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (7322, "2 h 02 min"),
    ],
)
def test_times_are_written_coarsely(seconds: float, written: str) -> None:
    run = LiveRun()
    run.see(PhaseStarted(time=20.0 - seconds, phase="scoring"))
    assert rows(run, 80) == [f"scoring: {written}"]
