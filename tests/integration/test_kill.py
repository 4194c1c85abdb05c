"""Workers are killed, stopped, orphaned; the weights are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pbkd.config.load import load_config
from pbkd.core.events import EpochDone, Restarted, WorkerLost
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run
from tests.soak.kill import FEEDS, Killer, digests, disturbed, settings

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN = "from pbkd.cli import main\nmain()"


@pytest.mark.parametrize(
    "feed",
    [pytest.param(f, marks=[pytest.mark.slow] if f != "recompute" else []) for f in FEEDS],
)
def test_killed_workers_change_nothing(feed: str, undisturbed: Path, tmp_path: Path) -> None:
    found, kills = disturbed(tmp_path, feed, seed=1, kills=3)
    assert found == digests(undisturbed)
    assert kills >= 2  # three, unless the run was over before
    restarts = [e for e in read_events(newest_run(tmp_path)) if isinstance(e, Restarted)]
    assert restarts


def test_a_worker_that_hangs_is_killed_and_started_again(undisturbed: Path, tmp_path: Path) -> None:
    killer = Killer(seed=0, kills=1, how=signal.SIGSTOP)
    changes = ["workers=2", "scheduler=pipeline", "launcher.patience=8"]
    result = run(load_config([*settings(tmp_path), *changes]), build_registry(), killer.see)
    assert killer.kills == 1
    assert digests(Path(result.folder)) == digests(undisturbed)
    lost = [e for e in read_events(Path(result.folder)) if isinstance(e, WorkerLost)]
    assert lost
    assert all(event.silent_seconds > 8 for event in lost)


def started(out: Path, *changes: str) -> subprocess.Popen[str]:
    """Start a run in a process group of its own."""
    command = [sys.executable, "-c", MAIN, "run", *settings(out), *changes]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "GOMP_SPINCOUNT": "3000"},
    )


def wait_until(happened: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def epochs(out: Path) -> int:
    folders = [path.parent for path in out.glob("digits*/config.yaml")]
    return sum(isinstance(e, EpochDone) for folder in folders for e in read_events(folder))


def workers(out: Path) -> list[int]:
    return [int(path.name) for path in out.glob("digits*/heartbeats/*")]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_the_host_and_the_run_is_resumed(
    undisturbed: Path, tmp_path: Path
) -> None:
    host = started(tmp_path, "workers=2", "scheduler=pipeline")
    wait_until(lambda: epochs(tmp_path) >= 8)
    orphans = workers(tmp_path)
    assert len(orphans) == 2
    host.kill()
    host.wait()
    wait_until(lambda: not any(map(is_alive, orphans)), seconds=20)
    folder = newest_run(tmp_path)
    result = run(load_config(file=folder / "config.yaml"), build_registry(), resume=folder)
    assert digests(Path(result.folder)) == digests(undisturbed)


def test_ctrl_c_stops_everything_and_says_how_to_go_on(tmp_path: Path) -> None:
    host = started(tmp_path, "workers=2", "scheduler=greedy", "distill.epochs=500")
    wait_until(lambda: epochs(tmp_path) >= 4)
    begun = workers(tmp_path)
    os.killpg(host.pid, signal.SIGINT)
    _, told = host.communicate(timeout=30)
    assert host.returncode == 130
    # Once in a while the timer of torch's rendezvous is collected in its own thread, which Python
    # tells of on the lines below.
    first, *_ = told.splitlines()
    assert first == f"pbkd: stopped; go on with `pbkd run --resume {newest_run(tmp_path)}`."
    assert not any(map(is_alive, begun))
