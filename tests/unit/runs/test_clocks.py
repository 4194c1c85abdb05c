"""Clocks that jump: the order of events, and which run is the newest."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from pbkd.core.event_json import to_json
from pbkd.core.events import EpochDone, Event, Note
from pbkd.core.json_lines import append_line
from pbkd.report.jobs import job_bars
from pbkd.runs.event_order import in_order
from pbkd.runs.events import new_events, read_events
from pbkd.runs.folder import new_run_folder, newest_run, point_latest
from tests.unit.report.pages import block_event

if TYPE_CHECKING:
    from pathlib import Path

YEAR = 365 * 86400.0


def epoch(number: int, time: float) -> EpochDone:
    return EpochDone(
        time=time, worker=0, phase="teacher-fed", block="a", epoch=number, loss=1.0, accuracy=None
    )


@pytest.mark.parametrize("jump", [-30 * YEAR, -3600.0, -0.001, 3600.0, 30 * YEAR])
def test_events_of_one_process_stay_in_their_order(tmp_path: Path, jump: float) -> None:
    written: list[Event] = [epoch(n, 1e9 + n + (jump if n > 3 else 0.0)) for n in range(1, 8)]
    (tmp_path / "events").mkdir()
    for event in written:
        append_line(tmp_path / "events" / "rank0.jsonl", to_json(event))
    append_line(tmp_path / "events" / "host.jsonl", to_json(Note(time=1e9, text="first")))
    first, *others = read_events(tmp_path)
    assert isinstance(first, Note)
    assert others == written
    assert new_events(tmp_path, {}) == [first, *written]


def test_any_jumps_of_two_clocks_keep_both_in_order() -> None:
    chance = random.Random(0)
    for _ in range(50):
        files = [[epoch(n, chance.uniform(-1e9, 1e10)) for n in range(10)] for _ in range(2)]
        merged = in_order(files)
        assert len(merged) == 20
        for events in files:
            assert [event for event in merged if any(event is one for one in events)] == events


def test_the_run_begun_last_is_the_newest_though_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    for year in (2040, 1970, 1999):
        monkeypatch.setattr("time.strftime", lambda _form, year=year: f"{year}0101-000000")
        folders.append(new_run_folder(tmp_path, "digits"))
        (folders[-1] / "config.yaml").touch()
        seconds = (year - 1970) * YEAR
        os.utime(folders[-1] / "config.yaml", (seconds, seconds))
        assert newest_run(tmp_path) == folders[-1]
    point_latest(folders[1])  # as when it is resumed
    assert newest_run(tmp_path) == folders[1]


def test_two_runs_at_one_moment_have_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda _form: "20010101-000000")
    folders = [new_run_folder(tmp_path, "digits") for _ in range(3)]
    assert len(set(folders)) == 3


@pytest.mark.parametrize("target", ["gone", "..", ".", "/etc", "a/b", "other", "latest"])
def test_a_link_that_names_no_run_beside_it_is_passed_over(tmp_path: Path, target: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    (tmp_path / "other").symlink_to("run")
    (tmp_path / "latest").symlink_to(target)
    assert newest_run(tmp_path) == tmp_path / "run"


@pytest.mark.parametrize("jump", [-30 * YEAR, 30 * YEAR])
def test_jobs_are_drawn_from_the_first_on_though_the_clock_jumps(jump: float) -> None:
    events = [block_event("a", 0, 1.7e9, 5.0), block_event("b", 0, 1.7e9 + jump, 4.0)]
    bars = job_bars(events, "teacher-fed")
    assert min(bar.start for bar in bars) == 0
    assert sorted(bar.seconds for bar in bars) == [4.0, 5.0]
