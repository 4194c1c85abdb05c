from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest
from pbkd_local import LocalLauncher

from pbkd.config.load import load_config, to_yaml
from pbkd.core.schedule import Schedule, Worker
from pbkd.errors import WorkerError
from pbkd.execution.worker import work
from pbkd.runs.assignment import Assignment, write_assignment

if TYPE_CHECKING:
    from pathlib import Path

# Every worker loads the run's plugins; this one records its process, then runs `then`.
WITNESS = """
import os, pathlib, time
from pbkd import hookimpl

@hookimpl
def register_builders():
    return []

rank = os.environ.get("RANK", "none")
pathlib.Path({folder!r}, "seen-" + rank).write_text(str(os.getpid()))
"""


def run_folder(path: Path, workers: int, then: str = "") -> Path:
    """Return a run folder without jobs: its workers start, prepare, load a plugin and end."""
    witness = path / "witness.py"
    witness.write_text(WITNESS.format(folder=str(path)) + then)
    config = load_config([f"workers={workers}", f"plugins=[{witness}]"])
    (path / "config.yaml").write_text(to_yaml(config))
    group = tuple(Worker(rank) for rank in range(workers))
    write_assignment(
        path, Assignment("teacher-fed", "initial", group, Schedule(((),) * workers), {})
    )
    return path


def launch(folder: Path, workers: int) -> None:
    LocalLauncher().launch(work, folder, [Worker(rank) for rank in range(workers)])


def seen(folder: Path) -> dict[str, int]:
    """Return the process of every worker that started, by its rank."""
    return {p.name.removeprefix("seen-"): int(p.read_text()) for p in folder.glob("seen-*")}


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    launch(run_folder(tmp_path, workers=1), workers=1)
    assert seen(tmp_path) == {"none": os.getpid()}
    assert not (tmp_path / "logs").exists()


def test_two_workers_are_two_processes_with_their_ranks_and_logs(tmp_path: Path) -> None:
    launch(run_folder(tmp_path, workers=2, then="print('rank', rank)"), workers=2)
    processes = seen(tmp_path)
    assert set(processes) == {"0", "1"}
    assert len({*processes.values(), os.getpid()}) == 3
    for rank in "01":
        (log,) = (tmp_path / "logs").glob(f"**/{rank}/stdout.log")
        assert f"rank {rank}" in log.read_text()


def test_a_worker_that_fails_stops_the_others_and_is_named(tmp_path: Path) -> None:
    then = "if rank == '1': raise RuntimeError('no more')\ntime.sleep(300)"
    folder = run_folder(tmp_path, workers=2, then=then)
    start = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        launch(folder, workers=2)
    assert time.monotonic() - start < 120
    assert re.fullmatch(
        rf"worker 1 failed \(.*witness\.py.*RuntimeError: no more.*\): see {folder / 'logs'}\.",
        str(caught.value),
    )
    logs = list((folder / "logs").glob("**/1/stderr.log"))
    assert len(logs) == 2  # the second time the same way, so not a third time
    assert all("in load_plugin" in log.read_text() for log in logs)
