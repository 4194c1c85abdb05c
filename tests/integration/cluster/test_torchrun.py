"""Four hosts with addresses of their own, no folder in common, and torchrun over them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import BlockTrained
from pbkd.runs.events import read_events
from pbkd.runs.folder import newest_run, times_resumed
from tests.cluster_peers import SECRET, wait_until
from tests.soak.short_run import settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HOSTS = 4
HOST = [str(Path(__file__).with_name("hosts")), f"pbkd-{os.getpid()}"]
ROOM = os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROOM, reason="network namespaces need root and iproute2"),
]


@pytest.fixture
def hosts() -> Iterator[None]:
    made = subprocess.run([*HOST, "up", str(HOSTS)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this system makes no network namespaces: {made.stderr.strip()}")
    yield
    subprocess.run([*HOST, "down", str(HOSTS)], capture_output=True, check=True)


# Spans of a relay in which each worker trains something.
EVEN_SPANS = """
import numpy
from pbkd import Job, Schedule, hookimpl

class EvenSpans:
    name = "even-spans"

    def schedule(self, costs, workers):
        names = [cost.name for cost in costs]
        spans = [tuple(map(str, span)) for span in numpy.array_split(names, len(workers))]
        return Schedule(tuple((Job(span),) if span else () for span in spans), feed="relay")

@hookimpl
def register_schedulers():
    return [EvenSpans]
"""

# A worker goes no further than its first checkpoint while its host's folder has a file `hold`.
# All workers get this plugin from the host of rank 0.
HOLDING = """
import os
import socket
import time
from pathlib import Path
from pbkd.training.checkpoint import CheckpointStore

OUT = Path(__file__).parents[1] / socket.gethostname()
write = CheckpointStore.write

def write_and_hold(*arguments):
    write(*arguments)
    (OUT / f"{os.getpid()}.held").touch()
    while (OUT / "hold").exists():
        time.sleep(0.01)

CheckpointStore.write = write_and_hold
"""


def assert_alike(folder: Path, alone: Path) -> None:
    """Blockwise weights are the same, bit by bit: no workers share batches here."""
    for file in alone.glob("*-fed/*.safetensors"):
        theirs = folder / file.relative_to(alone)
        assert theirs.read_bytes() == file.read_bytes(), file.name


class Cluster:
    """`pbkd run` under torchrun, a process on each host; each host has its own `out`."""

    def __init__(
        self, folder: Path, nodes: str, *changes: str, hosts: int, held: Collection[int] = ()
    ) -> None:
        """Start the first hosts; those in `held` go no further than a first checkpoint."""
        count = int(nodes.split(":")[-1])
        self.outs = [folder / f"host{number}" for number in range(1, count + 1)]
        self._changes = ("--nnodes", nodes), changes
        for number, out in enumerate(self.outs, 1):
            out.mkdir()
            (out / "even.py").write_text(EVEN_SPANS + HOLDING)
            if number in held:
                (out / "hold").touch()
        self.processes: list[subprocess.Popen[bytes]] = []
        for _ in range(hosts):
            self.start_next()

    def start_next(self) -> None:
        """Start the first host that has not been started."""
        out, number = self.outs[len(self.processes)], len(self.processes) + 1
        nodes, changes = self._changes
        command = [
            *HOST, "run", str(number), sys.executable, "-m", "torch.distributed.run",
            *nodes, "--nproc-per-node", "1", "--max-restarts", "5",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29500",
            "--rdzv-conf", "last_call_timeout=8",
            "--local-addr", f"10.77.0.{number}",
            "-m", "pbkd", "run", *settings(out), f"plugins=[{out}/often.py, {out}/even.py]",
            *changes,
        ]  # fmt: skip
        with (out / "told").open("w") as told:
            process = subprocess.Popen(
                command,
                stdout=told,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PBKD_SECRET": SECRET.decode()},
            )
        self.processes.append(process)

    def _told(self) -> str:
        """Return the end of what each host has printed."""
        started = self.outs[: len(self.processes)]
        return "\n".join(f"{out.name}: {(out / 'told').read_text()[-3000:]}" for out in started)

    def run_folder(self) -> Path:
        """Return the one folder that there is, on the host of rank 0."""
        (folder,) = {newest_run(out) for out in self.outs if any(out.glob("*/config.yaml"))}
        return folder

    def ended(self, *numbers: int) -> None:
        """Wait until the processes on these hosts have ended well."""
        for number in numbers:
            with suppress(subprocess.TimeoutExpired):
                self.processes[number - 1].wait(timeout=150)
            assert self.processes[number - 1].returncode == 0, self._told()

    def await_held(self, number: int, processes: int) -> None:
        """Wait until so many processes of a host, one after the other, have been held."""
        wait_until(lambda: len([*self.outs[number - 1].glob("*.held")]) == processes)


@pytest.mark.usefixtures("hosts")
def test_two_hosts_give_the_students_of_one_worker(undisturbed: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "2", "scheduler=lpt-scheduler", hosts=2)
    cluster.ended(1, 2)
    folder = cluster.run_folder()
    assert_alike(folder, undisturbed)
    trained = {e.worker for e in read_events(folder) if isinstance(e, BlockTrained)}
    assert trained == {0, 1}
    assert times_resumed(folder) == 0


@pytest.mark.usefixtures("hosts")
def test_a_host_that_joins_takes_part_in_the_run_that_goes_on(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No host counts the restart for it, which is not because of a failure."""
    # Else torch 2.14's torchrun gives no address to those that join later.
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    cluster = Cluster(tmp_path, "2:3", "scheduler=even-spans", hosts=2, held=(2,))
    cluster.await_held(2, 1)
    cluster.start_next()
    cluster.await_held(3, 1)
    (cluster.outs[1] / "hold").unlink()
    cluster.ended(1, 2, 3)
    folder = cluster.run_folder()
    assert_alike(folder, undisturbed)
    assert times_resumed(folder) >= 1
    trained = {e.worker for e in read_events(folder) if isinstance(e, BlockTrained)}
    assert trained == {0, 1, 2}


@pytest.mark.usefixtures("hosts")
def test_of_four_hosts_one_is_cut_off_and_another_is_killed(
    undisturbed: Path, tmp_path: Path
) -> None:
    cluster = Cluster(
        tmp_path, f"2:{HOSTS}", "scheduler=even-spans", "launcher=torchrun", "launcher.patience=5",
        hosts=HOSTS, held=(3, 4),
    )  # fmt: skip
    cluster.await_held(4, 1)
    subprocess.run([*HOST, "cut", "4"], check=True)
    cluster.await_held(3, 2)
    subprocess.run([*HOST, "kill", "3"], check=True)
    cluster.ended(1, 2)
    folder = cluster.run_folder()
    assert_alike(folder, undisturbed)
    assert times_resumed(folder) >= 2  # more, if hosts join late
