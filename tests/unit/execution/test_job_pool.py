from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.execution.job_pool import JobPool, independent_jobs, pack_job
from pbkd.execution.remote.folder_sync import apply_delta
from pbkd.runs.assignment import Assignment, read_assignment, write_assignment

if TYPE_CHECKING:
    from pathlib import Path

A, B, C, D = (Job((name,)) for name in "abcd")


def assign(folder: Path, schedule: Schedule) -> None:
    workers = (Worker(0), Worker(1))
    write_assignment(folder, Assignment("teacher-fed", "initial", workers, schedule, {}))


def test_a_worker_takes_its_assigned_jobs_first() -> None:
    pool = JobPool(Schedule(((A,), (B,)), (C, D)))
    assert [pool.take(0) for _ in range(4)] == [A, C, D, None]
    assert [pool.take(1), pool.take(1)] == [B, None]
    assert pool.blocks_left == []


def test_the_jobs_of_a_lost_worker_go_to_the_others() -> None:
    pool = JobPool(Schedule(((A, B), (C,))))
    assert pool.take(0) == A
    pool.release_jobs_of(0, A)
    assert pool.blocks_left == ["a", "b"]
    assert [pool.take(1) for _ in range(4)] == [C, A, B, None]
    assert pool.take(0) is None


def test_only_recomputed_activations_make_jobs_independent(tmp_path: Path) -> None:
    assert independent_jobs(tmp_path) is None
    assign(tmp_path, Schedule(((A,), (B,)), feed="relay"))
    assert independent_jobs(tmp_path) is None
    assign(tmp_path, Schedule(((A,), (B,))))
    pool = independent_jobs(tmp_path)
    assert pool is not None
    assert [pool.take(1), pool.take(0)] == [B, A]


def test_a_packed_job_is_the_only_one_of_its_folder(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    assign(home, Schedule(((A,), (B,)), (C,)))
    (home / "config.yaml").write_text("seed: 0")
    apply_delta(pack_job(home, 1, C), copy)
    assert read_assignment(copy).schedule == Schedule(((), (C,)))
    assert (copy / "config.yaml").read_text() == "seed: 0"
    assert read_assignment(home).schedule == Schedule(((A,), (B,)), (C,))
