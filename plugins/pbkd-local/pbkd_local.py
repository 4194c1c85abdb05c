"""Workers on this machine, one process each; a single worker runs in this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, util
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, ClassVar

import psutil

from pbkd import hookimpl
from pbkd.errors import WorkerError, one_line
from pbkd.execution import (
    emit_heartbeats,
    modules_to_preload,
    private_store,
    record_lost_process,
    record_restart,
    watch_heartbeats,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.context import ForkServerContext
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from pbkd import Worker
    from pbkd.protocols import Launcher

    Work = Callable[[Path, int], None]

PBKD_CONTRACT = 2

_LOST = 255  # the exit code in `multiprocessing` of a process whose fork server was killed
_GRACE = 0.5  # seconds
_END_TIMEOUT = 30.0  # seconds until a killed process is left to itself


@dataclass(frozen=True)
class LocalLauncher:
    """Start worker processes; their output goes to `logs` in the run folder.

    When a worker dies, all are restarted from their checkpoints, at most `restarts` times. A worker
    that sends no heartbeat for `patience` seconds is killed.
    """

    name: ClassVar[str] = "local"
    restarts: int = 3
    patience: float = 600.0

    def launch(self, work: Work, folder: Path, workers: Sequence[Worker]) -> None:
        """Run all workers to their end.

        Args:
            work: Does one worker's part, for the run folder and a rank.
            folder: The run folder.
            workers: The workers of the schedule; a single one runs in this process.

        Raises:
            WorkerError: A worker failed twice in the same way, or too often.
        """
        if len(workers) == 1:
            work(folder, workers[0].rank)
            return
        previous = None
        for attempt in range(self.restarts + 1):
            failure = self._run_once(work, folder, len(workers))
            if failure is None:
                return
            reason = f"worker {failure.rank} failed ({failure.message})"
            # What failed twice in the same way is going to fail a third time.
            if attempt == self.restarts or (failure == previous and not failure.was_killed):
                raise WorkerError(f"{reason}: see {folder / 'logs'}.")
            record_restart(folder, reason, attempt + 1)
            previous = failure

    def _run_once(self, work: Work, folder: Path, count: int) -> _Failure | None:
        """Run all workers until they are done, or until the first one fails."""
        logs = _new_logs(folder)
        on_lost = partial(record_lost_process, folder)
        processes = _Processes()
        with (
            private_store() as store,
            watch_heartbeats(folder, self.patience, on_lost),
            processes.ended(),
        ):
            for rank in range(count):
                environment = {**store, "RANK": str(rank), "WORLD_SIZE": str(count)}
                arguments = work, folder, rank, environment, logs / str(rank)
                try:
                    processes.start(arguments)
                except (EOFError, ConnectionError) as error:  # the fork server was killed
                    return _Failure(rank, f"it could not be started: {one_line(error)}", True)
            return processes.first_failure(logs)


@dataclass(frozen=True)
class _Failure:
    """The failure of one worker."""

    rank: int
    message: str
    was_killed: bool


class _Processes:
    """The worker processes of one launch, by rank."""

    def __init__(self) -> None:
        self._processes: list[BaseProcess] = []
        self._handles: list[psutil.Process] = []

    def start(self, arguments: tuple[Work, Path, int, Mapping[str, str], Path]) -> None:
        """Start the next worker."""
        process = _fork_server().Process(target=_worker, args=arguments)
        process.start()
        self._processes.append(process)
        with suppress(psutil.NoSuchProcess):
            self._handles.append(psutil.Process(process.pid))

    def first_failure(self, logs: Path) -> _Failure | None:
        """Wait until all processes have ended well, or one has failed."""
        running = {process.sentinel: rank for rank, process in enumerate(self._processes)}
        while running:
            failures = self._failures(running, logs, None)
            if failures and not failures[0].was_killed:
                # The cause may be another worker, which was killed and is seen a moment later.
                failures += self._failures(running, logs, _GRACE)
            for failure in sorted(failures, key=lambda f: not f.was_killed):
                return failure
        return None

    def _failures(
        self, running: dict[int, int], logs: Path, timeout: float | None
    ) -> list[_Failure]:
        """Wait until a process ends; remove those that have from `running` (rank by sentinel)."""
        ready = wait([*running], timeout)
        ended = [running.pop(sentinel) for sentinel in ready if isinstance(sentinel, int)]
        failures = filter(None, (self._failure(rank, logs / str(rank)) for rank in ended))
        return sorted(failures, key=lambda failure: not failure.was_killed)

    def _failure(self, rank: int, logs: Path) -> _Failure | None:
        process = self._processes[rank]
        process.join()
        code = process.exitcode or 0
        if code == 0:
            return None
        if message := _last_line(logs / "error.txt"):
            return _Failure(rank, message, False)
        if code == _LOST:
            return _Failure(rank, "its fork server was killed", True)
        if code < 0:
            return _Failure(rank, f"it was ended by {_signal_name(-code)}", True)
        default = f"exit code {code} before its work began, with the reason above"
        return _Failure(rank, _last_line(logs / "stderr.log") or default, False)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Kill all processes at the end of the context, and wait until they are gone.

        Those whose fork server was killed are running still, although `multiprocessing` believes
        that they have ended.
        """
        try:
            yield
        finally:
            running = [handle for handle in self._handles if _is_running(handle)]
            for handle in running:
                with suppress(psutil.NoSuchProcess):
                    handle.kill()
            end = time.monotonic() + _END_TIMEOUT
            while any(map(_is_running, running)) and time.monotonic() < end:
                time.sleep(0.01)


def _is_running(handle: psutil.Process) -> bool:
    try:
        return bool(handle.is_running() and handle.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _fork_server() -> ForkServerContext:
    """Start the server whose forks the workers are, unless it runs; it imports torch once.

    The server has started no threads and used no device, so that forking it is safe. Forks start in
    tenths of a second, a new interpreter takes seconds.

    Ctrl-C is blocked in the server, and so in each worker until its own code runs.
    """
    # Python before 3.10.9 and 3.11.1: every user could have the server run code (CVE-2022-42919).
    util.abstract_sockets_supported = False  # type: ignore[misc]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(modules_to_preload())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with warnings.catch_warnings():
            # multiprocessing's resource tracker was killed; the workers leave it nothing to track.
            warnings.filterwarnings("ignore", "resource_tracker: process died")
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _new_logs(folder: Path) -> Path:
    """Create the folder of the logs of one start of the workers."""
    logs = folder / "logs"
    number = 1
    while (logs / str(number)).exists():
        number += 1
    (logs / str(number)).mkdir(parents=True)
    return logs / str(number)


def _last_line(path: Path) -> str:
    """Return the last line of a log, or nothing if there is none."""
    with suppress(OSError):
        return (path.read_text(errors="replace").strip().splitlines() or [""])[-1]
    return ""


def _worker(
    work: Work, folder: Path, rank: int, environment: Mapping[str, str], logs: Path
) -> None:
    # A worker that is blocked in torch, waiting for another, could not handle Ctrl-C in Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _redirect_output(logs)
    _end_with_parent()
    os.environ.update(environment)
    try:
        with emit_heartbeats(folder):
            work(folder, rank)
    except Exception as error:
        (logs / "error.txt").write_text(one_line(error))
        raise


def _redirect_output(logs: Path) -> None:
    """Write what Python and other code print to the logs from now on."""
    logs.mkdir()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = (logs / f"{name}.log").open("w", buffering=1, errors="backslashreplace")
        os.dup2(file.fileno(), descriptor)
        setattr(sys, name, file)


def _end_with_parent() -> None:
    """End this process when its parent ends for any reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "multiprocessing has started this process"

    def exit_after_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=exit_after_parent, name="pbkd-parent", daemon=True).start()


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Register the launcher `local`."""
    return [LocalLauncher]
