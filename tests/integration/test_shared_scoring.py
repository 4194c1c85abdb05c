"""Runs whose workers share scoring and evaluation, against runs of one worker."""

from __future__ import annotations

import multiprocessing
import threading
import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
from pbkd_local import LocalLauncher

from pbkd.config.load import load_config
from pbkd.core.events import JobStarted, PhaseStarted, Restarted
from pbkd.core.files import read_json
from pbkd.errors import WorkerError
from pbkd.execution.job_pool import independent_jobs, pack_job
from pbkd.execution.remote.folder_sync import apply_delta
from pbkd.execution.remote.worker_files import writable_files
from pbkd.execution.remote.working_copy import work_in_copy
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.assignment import SCORED
from pbkd.runs.folder import newest_run
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd import Worker
    from pbkd.core.events import Event

SETTINGS = [
    "keep=[stem*, head*, conv1*, conv2*]", "threads=1", "batch_size=20", "meters=[]",
    "scheduler=round-robin", "distill.epochs=1", "distill.student_fed_epochs=0",
    "finetune.epochs=1", "target.block_drop=1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _shared_however_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def sharing(_work: Any, workers: Any, _modelled: Any) -> dict[str, Any]:
        return dict.fromkeys(SCORED, workers) if len(workers) > 1 else {}

    monkeypatch.setattr("pbkd.pipeline.predict_phases.sharing_workers", sharing)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have workers do their parts in this process; the phases for which several did.

    They work in copies of the run folder, as on other machines.
    """
    phases: list[str] = []

    def launch(
        _: Any, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        if len(workers) == 1:
            work(folder, 0)
            return
        phases.append(read_json(folder / "assignment.json")["phase"])
        jobs = independent_jobs(folder)
        assert jobs is not None
        for rank in range(len(workers)):
            while job := jobs.take(rank):
                contents = pack_job(folder, rank, job)
                allowed = writable_files(contents, rank)
                work_in_copy(
                    work, rank, contents, partial(apply_delta, folder=folder, allowed=allowed)
                )

    monkeypatch.setattr(LocalLauncher, "launch", launch)
    return phases


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return few_digits(tmp_path_factory.mktemp("pictures"), training=100, test=360)


def found(out: Path, *settings: str, **options: Any) -> Mapping[str, Any]:
    """Run; return all that was found by scoring."""
    config = load_config([*SETTINGS, *settings, f"out={out}"])
    result = run(config, build_registry(), **options)
    folder = newest_run(out)
    assert not any((folder / phase).exists() for phase in SCORED)
    return {
        "scores": read_json(folder / "scores.json"),
        "changes": read_json(folder / "changes.json"),
        "validation": result.validation,
        "test": (result.accuracies, result.agreements, result.student.agreement),
    }


@pytest.fixture(scope="module")
def alone(
    pictures: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Mapping[str, Any]]:
    """What one worker finds with these settings, once for all tests."""
    return cache(lambda setting: found(tmp_path_factory.mktemp("alone"), *pictures, setting))


def test_three_workers_find_what_one_finds_bit_by_bit_although_a_file_is_damaged(
    pictures: list[str],
    tmp_path: Path,
    launches: list[str],
    alone: Callable[[str], Mapping[str, Any]],
) -> None:
    setting = "data.labelled=true"

    def damage(event: Event) -> None:
        if isinstance(event, JobStarted) and (event.phase, event.worker) == ("evaluation", 1):
            path = newest_run(tmp_path) / "evaluation" / "0.safetensors"
            path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(WorkerError, match=r"ended, but .*0\.safetensors"):
        found(tmp_path, *pictures, setting, "workers=3", emit=damage)
    resumed = found(tmp_path, *pictures, setting, "workers=3", resume=newest_run(tmp_path))
    assert resumed == alone(setting)
    assert launches == ["teacher-fed", *SCORED, "recalibration", "evaluation"]
    assert len(resumed["scores"]) > 1


@pytest.mark.slow
def test_workers_find_without_labels_what_one_finds(
    pictures: list[str],
    tmp_path: Path,
    launches: list[str],
    alone: Callable[[str], Mapping[str, Any]],
) -> None:
    setting = "data.labelled=false"
    assert found(tmp_path, *pictures, setting, "workers=2") == alone(setting)
    assert launches == ["teacher-fed", *SCORED]


@pytest.mark.slow
def test_a_worker_that_is_killed_in_evaluation_is_started_again(
    pictures: list[str], tmp_path: Path, alone: Callable[[str], Mapping[str, Any]]
) -> None:
    events: list[Event] = []

    def kill_the_first() -> None:
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.001)
        workers[0].kill()

    def kill(event: Event) -> None:
        events.append(event)
        # Before it says that it has begun: it takes no longer than a reading of the events.
        if isinstance(event, PhaseStarted) and event.phase == "evaluation":
            threading.Thread(target=kill_the_first, daemon=True).start()

    setting = "data.labelled=true"
    together = found(tmp_path, *pictures, setting, "workers=2", emit=kill)
    assert together == alone(setting)
    assert any(isinstance(event, Restarted) for event in events)
