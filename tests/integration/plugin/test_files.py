"""Plugins in files, in the processes that they start themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.core.schedule import Worker
from pbkd.plugin.registry import build_registry

LAUNCHER = """
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

from pbkd import hookimpl


def work(folder, rank):
    Path(folder, f"done-{rank}").touch()


@dataclass
class Processes:
    name = "processes"
    method: str = "spawn"

    def launch(self, work, folder, workers):
        context = multiprocessing.get_context(self.method)
        started = [context.Process(target=run, args=(self, work, folder, w)) for w in workers]
        for process in started:
            process.start()
        for process in started:
            process.join()


def run(launcher, work, folder, worker):
    assert launcher == Processes(launcher.method)
    work(folder, worker.rank)


@hookimpl
def register_launchers():
    return [Processes]
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_launcher_in_a_file_starts_processes_that_find_it(tmp_path: Path, method: str) -> None:
    file = tmp_path / "my.launcher.py"
    file.write_text(LAUNCHER)
    launcher = build_registry([str(file)]).create(
        "launcher", {"name": "processes", "method": method}
    )
    launcher.launch(type(launcher).launch.__globals__["work"], tmp_path, [Worker(0), Worker(1)])
    assert sorted(path.name for path in tmp_path.glob("done-*")) == ["done-0", "done-1"]
