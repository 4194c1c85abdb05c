"""Commands of pbkd as forks of one process that has imported torch: each starts at once.

`Preloaded` starts that process. Of what a command starts in turn, multiprocessing's fork server and
resource tracker are forks of it too, so that workers need no second import of torch either.
"""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tests.paths import ROOT
from tests.soak.processes import name_process, with_subreaper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["FORK_SERVER", "HELPER", "RESOURCE_TRACKER", "Command", "Preloaded"]

_MODULES = (
    "torch.utils.flop_counter", "torch.profiler", "torchvision", "pbkd.cli",
    "pbkd.execution.worker", "pbkd.pipeline.run",
    "pbkd.pipeline.preview",
    "pbkd.report.console.show", "pbkd.report.console.preview", "multiprocessing.popen_forkserver",
    "typer._adapters", "PIL.PngImagePlugin",
)  # fmt: skip
_WITHOUT_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
FORK_SERVER, RESOURCE_TRACKER, HELPER = "fork-server", "tracker", "preloaded"
"""Names of processes of a command; workers have that of the fork server."""


@dataclass(frozen=True)
class Command:
    """A command that was started, the leader of a session of its own."""

    pid: int
    folder: Path

    @property
    def out(self) -> str:
        """What it has written to standard output."""
        return (self.folder / "stdout").read_text()

    def is_main(self) -> bool:
        """Return whether it has come to pbkd's own code."""
        return Path(f"/proc/{self.pid}/comm").read_text() == "pbkd\n"

    @property
    def held(self) -> Path:
        """A file that exists while the command waits at `HOLD`; removing it lets it go on."""
        return self.folder / "held"

    @property
    def err(self) -> str:
        """What it has written to standard error."""
        return (self.folder / "stderr").read_text()


class Preloaded:
    """Starts commands of pbkd, while the context lasts."""

    def __enter__(self) -> Preloaded:
        """Start the process whose forks the commands are."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.preloaded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **_WITHOUT_THREADS},
        )
        self._ask()  # it answers when it has imported everything
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.communicate()

    def start(
        self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Command:
        """Start `pbkd ARGUMENTS` in a folder, where its output goes to `stdout` and `stderr`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("stdout", "stderr"):
            (folder / name).touch()
        pid = self._ask(
            start=list(arguments), folder=str(folder), environment=dict(environment or {})
        )
        return Command(pid, folder)

    def poll(self, command: Command) -> int | None:
        """Return the exit code of a command, -N after the signal N; None while it runs."""
        code: int | None = self._ask(poll=command.pid)
        return code

    def _ask(self, **request: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _serve() -> dict[str, Any]:
    """Answer requests until there are no more; return in forks, each with what it is to start."""
    for name in _MODULES:
        __import__(name)
    from pbkd.models import latency
    from pbkd.pipeline import network_figures
    from pbkd.plugin.registry import build_registry

    build_registry()
    vars(network_figures)["latencies"] = partial(latency.latencies, repeats=5)
    assert len(os.listdir("/proc/self/task")) == 1, "forks have only the thread that forked"  # noqa: PTH208
    gc.freeze()  # collections in forks copy no pages
    codes: dict[int, int] = {}
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: int | None = None
        if "start" in request:
            answer = os.fork()
            if answer == 0:
                return request
        elif "poll" in request:
            answer = _poll(request["poll"], codes)
        print(json.dumps(answer), flush=True)
    sys.exit()


def _poll(pid: int, codes: dict[int, int]) -> int | None:
    """Return the exit code of a fork, which the system tells once."""
    if pid not in codes:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes.get(pid)


def _become(request: Mapping[str, Any]) -> None:
    """Turn this fork into a process as a shell would have started it."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # it was that of the process that preloads
    for number, name in enumerate((os.devnull, "stdout", "stderr")):
        stream = os.open(name, os.O_RDWR)
        os.dup2(stream, number)
        os.close(stream)
    sys.argv = ["pbkd", *request["start"]]
    sys.modules["__main__"] = __import__("pbkd.__main__", fromlist=["main"])
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        _start_interpreters(theirs)
    theirs.close()

    def start(_path: object, arguments: Sequence[Any], descriptors: Sequence[int]) -> int:
        code = arguments[list(arguments).index("-c") + 1]
        with with_subreaper():
            blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
            message = json.dumps([code, list(descriptors), blocked]).encode()
            socket.send_fds(ours, [message], list(descriptors))
            return int(ours.recv(32))

    vars(multiprocessing.util)["spawnv_passfds"] = start
    if hold := os.environ.pop("HOLD", None):
        _hold(*json.loads(hold))
    name_process("pbkd")


def _hold(parts: Sequence[str], number: int) -> None:
    """Wait before the command's step `number` on a file whose name has one of these parts."""
    left = iter(range(number))
    held = Path("held").absolute()
    events = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink"}

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in events or held.exists() or not any(p in str(arguments[0]) for p in parts):
            return
        if next(left, None) is None and next(once, None):
            held.touch()
            while held.exists():
                time.sleep(0.001)

    once = iter([True])
    sys.addaudithook(see)


def _start_interpreters(requests: socket.socket) -> None:
    """Fork for each `python -c CODE` that is asked for, and run the code there.

    This process never runs a backward pass, after which torch allows no forks. It is out of the
    command's process group, but not of its session, and ends with the command.
    """
    name_process(HELPER)
    group = os.getpgrp()
    os.setpgid(0, 0)
    with suppress(ConnectionError):
        while _start_interpreter(requests, group):
            pass
    os._exit(0)


def _start_interpreter(requests: socket.socket, group: int) -> bool:
    """Start the next interpreter that is asked for; return whether there was one."""
    message, descriptors, _, _ = socket.recv_fds(requests, 2**16, 16)
    if not message:
        return False
    code, numbers, blocked = json.loads(message)
    reader, writer = os.pipe()
    if (middle := os.fork()) == 0:
        if (pid := os.fork()) == 0:
            try:
                os.setpgid(0, group)
            except PermissionError:  # the command was killed, and its group with it
                os._exit(0)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            requests.detach()  # its number is soon another file's
            _renumber(descriptors, numbers)
            name_process(RESOURCE_TRACKER if "resource_tracker" in code else FORK_SERVER)
            _run_and_exit(lambda: exec(code, {"__name__": "__main__"}))
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    requests.send(os.read(reader, 32))
    for descriptor in (reader, writer, *descriptors):
        os.close(descriptor)
    return True


def _run_and_exit(main: Callable[[], None]) -> NoReturn:
    """Run a program to its end, but keep its modules: Python takes 0.4 s to take them down."""
    code = 0
    try:
        main()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        code = end.code or 0
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


def _renumber(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files their numbers in the command, and close all others but the streams."""
    import fcntl

    above = [fcntl.fcntl(number, fcntl.F_DUPFD, 512) for number in descriptors]
    os.closerange(3, 512)
    for source, number in zip(above, numbers, strict=True):
        os.dup2(source, number)
    os.closerange(512, 1024)


if __name__ == "__main__":
    asked = _serve()
    _become(asked)
    from pbkd.cli import main

    _run_and_exit(main)
