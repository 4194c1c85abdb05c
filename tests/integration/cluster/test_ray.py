"""A Ray cluster of three nodes on this machine, of which two are killed in mid-run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pbkd.config.load import load_config
from pbkd.core.events import Emit, EpochDone, Event, JobStarted, Restarted
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run
from tests.cluster_peers import wait_until
from tests.soak.short_run import digests, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'pbkd[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

CPUS = (3, 1, 1)  # of each node; the first, which is not killed, can do the work of all

SETTINGS = {
    "RAY_worker_niceness": "0",  # by default, other tests get thirty times as much of a core
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",  # a node that misses five is lost
}


class Cluster:
    """A Ray cluster of nodes on this machine, each started by `ray start`."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        # A short name: Ray's sockets lie in it.
        self._folder = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
        port = self.address.split(":")[1]
        head = ["--head", "--port", port, "--temp-dir", self._folder.name]
        self.nodes = [self._start(CPUS[0], *head, "--include-dashboard=false")]
        self.nodes += [self._start(cpus, "--address", self.address) for cpus in CPUS[1:]]

    def _start(self, cpus: int, *options: str) -> subprocess.Popen[str]:
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--block", *options,
            "--num-cpus", str(cpus), "--num-gpus", "0", "--object-store-memory", "100000000",
            "--disable-usage-stats",
        ]  # fmt: skip
        node = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **SETTINGS},
        )
        assert node.stdout is not None
        told = ""
        for line in node.stdout:
            if "--block" in line:  # the last paragraph, once it runs
                return node
            told += line
        raise AssertionError(f"the node has not started: {told}")

    def kill(self, number: int) -> None:
        """Kill a node with all that runs on it."""
        parent = psutil.Process(self.nodes[number].pid)
        for process in [parent, *parent.children(recursive=True)]:
            process.kill()
        self.nodes[number].wait()

    def close(self) -> None:
        ray.shutdown()
        for number, node in enumerate(self.nodes):
            if node.poll() is None:
                self.kill(number)
        self._folder.cleanup()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or it leaves a token in the home folder
    ray.shutdown()  # of what another test of this process may have left
    made = Cluster()
    yield made
    made.close()
    monkeypatch.undo()


VICTIMS = {"teacher-fed": (8, 2), "student-fed": (4, 1)}
"""By phase, after how many of its epochs which node is killed."""


def killing(cluster: Cluster) -> Emit:
    """Return a listener that kills the nodes in their phases."""
    epochs: Counter[str] = Counter()

    def see(event: Event) -> None:
        if isinstance(event, EpochDone) and event.phase in VICTIMS:
            epochs[event.phase] += 1
            count, victim = VICTIMS[event.phase]
            if epochs[event.phase] == count:
                cluster.kill(victim)

    return see


def test_two_nodes_are_lost_and_the_students_are_those_of_one_worker(
    cluster: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    """One does independent jobs when it is lost, the other a part of a relay."""
    changes = [
        "scheduler=lpt-scheduler", "workers=3", "launcher=ray",
        f"launcher.address={cluster.address}",
    ]  # fmt: skip
    config = load_config([*settings(tmp_path), *changes])
    folder = Path(run(config, build_registry(), killing(cluster)).folder)
    assert digests(folder) == digests(undisturbed)
    events = read_events(folder)
    phase, restarted_in = "", set()
    for event in events:
        if isinstance(event, EpochDone):
            phase = event.phase
        elif isinstance(event, Restarted):
            restarted_in.add(phase)
    assert restarted_in == {*VICTIMS}
    assert {e.worker for e in events if isinstance(e, JobStarted)} >= {0, 1, 2}


def test_ctrl_c_gives_everything_back(cluster: Cluster, tmp_path: Path) -> None:
    ray.shutdown()  # runs of this process have their workers still
    changes = [
        "scheduler=greedy", "workers=2", "distill.epochs=500", "launcher=ray",
        f"launcher.address={cluster.address}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "pbkd", "run", *settings(tmp_path), *changes]
    # What a shell starts in the background hands on that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    wait_until(lambda: any(b"epoch" in f.read_bytes() for f in tmp_path.glob("*/events/rank*")))
    ray.init(cluster.address, log_to_driver=False)
    assert in_use() == 2
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with `pbkd run --resume {newest_run(tmp_path)}`" in told
    wait_until(lambda: in_use() == 0)


def in_use() -> float:
    """Return how many of the cluster's CPUs are taken."""
    there, free = ray.cluster_resources(), ray.available_resources()
    return float(there["CPU"] - free.get("CPU", 0))
