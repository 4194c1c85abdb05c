from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import Restarted
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.errors import WorkerError
from pbkd.execution.remote.remote_launch import launch_remotely
from pbkd.execution.remote.remote_workers import RemoteWorkers
from pbkd.runs.assignment import Assignment, read_assignment, write_assignment
from pbkd.runs.events import read_events
from tests.unit.execution.remote.fake_workers import FakeHandle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A, B, C = (Job((name,)) for name in "abc")
WORKERS = (Worker(0), Worker(1))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # the fake workers set them in this process
    monkeypatch.setattr("pbkd.execution.remote.worker_process._WAIT", 0.05)


def assign(folder: Path, feed: str = "recompute") -> None:
    schedule = Schedule(((A, B), (C,)), feed=feed)
    builders = {name: {"name": "separable"} for name in "abc"}
    write_assignment(
        folder, Assignment("teacher-fed", "initial", WORKERS, schedule, {}, builders=builders)
    )


def train(folder: Path, rank: int) -> None:
    (folder / "teacher-fed").mkdir(exist_ok=True)
    for job in read_assignment(folder).schedule.assigned[rank]:
        for name in job.blocks:
            (folder / "teacher-fed" / f"{name}.safetensors").write_text(str(rank))


def trained(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in (folder / "teacher-fed").iterdir()}


def restarts(folder: Path) -> int:
    return sum(isinstance(event, Restarted) for event in read_events(folder))


class Losing:
    """Work that first loses its worker so many times, in a way of its own."""

    def __init__(self, rank: int, lose: Callable[[], None], times: int = 1) -> None:
        self.rank, self.lose, self.left = rank, lose, times
        self._others = threading.Event()

    def __call__(self, folder: Path, rank: int) -> None:
        if rank == self.rank and self.left:
            self.left -= 1
            self.lose()
            self._others.wait(1)  # what it does now nobody hears
        train(folder, rank)


def test_jobs_of_a_worker_that_stays_lost_go_to_one_that_had_finished(tmp_path: Path) -> None:
    assign(tmp_path)
    handles = [FakeHandle(kills_needed=1000), FakeHandle()]

    def die() -> None:
        handles[0].process = None

    launch_remotely(Losing(0, die), tmp_path, RemoteWorkers(handles, 0.2), 3)
    assert trained(tmp_path) == {"a": "1", "b": "1", "c": "1"}
    assert restarts(tmp_path) == 1


def test_a_job_that_loses_every_worker_ends_the_run(tmp_path: Path) -> None:
    assign(tmp_path)
    handles = [FakeHandle(), FakeHandle()]

    def die() -> None:
        handles[0].process = None

    with pytest.raises(WorkerError, match="worker 0 was lost .it died., and nothing takes"):
        launch_remotely(Losing(0, die, 1000), tmp_path, RemoteWorkers(handles, 0.2), 2)
    assert 2 <= restarts(tmp_path) <= 4  # of its two jobs


@pytest.mark.parametrize("engine_tells", [True, False])
def test_workers_that_need_each_other_are_started_together_anew(
    engine_tells: bool, tmp_path: Path
) -> None:
    assign(tmp_path, "relay")
    handles = [FakeHandle(), FakeHandle()]

    def be_lost() -> None:
        if engine_tells:
            handles[1].process = None
        else:
            handles[1].is_silent = True

    launch_remotely(Losing(1, be_lost), tmp_path, RemoteWorkers(handles, 0.5), 1)
    assert trained(tmp_path) == {"a": "0", "b": "0", "c": "1"}
    assert restarts(tmp_path) == 1
    assert [handle.kills for handle in handles] == [1, 1]
    assert os.environ["WORLD_SIZE"] == "2"


def test_workers_that_are_lost_again_and_again_are_a_sentence(tmp_path: Path) -> None:
    assign(tmp_path, "relay")
    handles = [FakeHandle(), FakeHandle()]

    def die() -> None:
        handles[1].process = None

    with pytest.raises(WorkerError, match="worker 1 was lost .it died., and nothing takes"):
        launch_remotely(Losing(1, die, 1000), tmp_path, RemoteWorkers(handles, 20), 2)
    assert restarts(tmp_path) == 2
