"""Workers on this machine, one process each; a single worker stays in this process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, ClassVar

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
    record,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pbkd import hookimpl
from pbkd.errors import WorkerError
from pbkd.execution.heartbeat import alive, watched
from pbkd.runs.events import record as record_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pbkd import Worker
    from pbkd.protocols import Launcher

    Work = Callable[[Path, int], None]

PBKD_CONTRACT = 1

# torch imports torch._dynamo when it makes its first optimiser.
_SLOW_IMPORTS = ("torch._dynamo", "torchvision", "timm", "sklearn.datasets")


@dataclass(frozen=True)
class LocalLauncher:
    """Start workers with torch's elastic agent; their output goes to `logs` in the run folder.

    When a worker dies, all are started again, at most `restarts` times, and go on from their
    checkpoints. One that gives no sign of life for `patience` seconds is killed.
    """

    name: ClassVar[str] = "local"
    restarts: int = 3
    patience: float = 600.0

    def launch(self, work: Work, folder: Path, workers: Sequence[Worker]) -> None:
        """Run every worker to its end; raises `WorkerError` where one fails for good."""
        if len(workers) == 1:
            work(folder, workers[0].rank)
            return

        def lost(pid: int, seconds: float) -> None:
            record_event(folder, "launcher", "worker lost", pid=pid, silent_seconds=seconds)

        message = ""
        for attempt in range(self.restarts + 1):
            try:
                with _signals_restored(), _agent_kept_quiet(), watched(folder, self.patience, lost):
                    elastic_launch(_config(folder, len(workers)), _worker)(work, folder)
            except ChildFailedError as error:
                rank, failure = error.get_first_failure()
                before, message = message, _message(failure, folder / "logs")
                reason = f"worker {rank} failed ({message})"
                # What failed twice in the same way will not go well the third time.
                if attempt == self.restarts or (message == before and failure.exitcode >= 0):
                    raise WorkerError(f"{reason}: see {folder / 'logs'}.") from error
                record_event(folder, "launcher", "restart", attempt=attempt + 1, reason=reason)
            else:
                return


def _config(folder: Path, workers: int) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=workers,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=folder.name,
        # The agent would also start workers again that fail at the same place each time.
        max_restarts=0,
        start_method=_start_method(),
        logs_specs=DefaultLogsSpecs(str(folder / "logs"), redirects=Std.ALL),
    )


def _start_method() -> str:
    """Say how processes start: where it can be, as forks of one that has torch imported already.

    That one has begun no threads and used no device, so that forks of it are safe, and they start
    in tenths of a second, where a process from nothing takes seconds.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return "spawn"
    # The host has prepared teacher and data: what it needed for that, workers will need.
    needed = [name for name in _SLOW_IMPORTS if name in sys.modules]
    multiprocessing.set_forkserver_preload(["pbkd.execution.worker", *needed])
    return "forkserver"


def _message(failure: ProcessFailure, logs: Path) -> str:
    """Return the last line of what a worker that failed has left: its error, or its log."""
    message = failure.message
    if isinstance(message, dict):
        message = message.get("message", "")
    elif failure.exitcode > 0:
        written = logs.glob(f"*/attempt_0/{failure.local_rank}/stderr.log")
        newest = max(written, key=lambda path: path.stat().st_mtime, default=None)
        unsaid = f"it ended with exit code {failure.exitcode} before its work, and said why above"
        message = (newest.read_text().strip() if newest else "") or unsaid
    return str(message).strip().splitlines()[-1]


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Undo that the agent takes over signals; Ctrl-C stays what Python makes of it."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    main = threading.current_thread() is threading.main_thread()
    signals = [getattr(signal, name) for name in names if main and hasattr(signal, name)]
    before = {which: signal.getsignal(which) for which in signals}
    try:
        yield
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        raise SystemExit(128 + error.sigval) from error
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


@contextmanager
def _agent_kept_quiet() -> Iterator[None]:
    """Keep the agent's log lines off the terminal: what they tell is in the `WorkerError`."""
    known = logging.root.manager.loggerDict.items()  # each module of the agent sets its own level
    mine = ("torch.distributed", "torch.multiprocessing")
    loggers = [x for name, x in known if name.startswith(mine) and isinstance(x, logging.Logger)]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@record
def _worker(work: Work, folder: Path) -> None:
    # A worker that waits for another one, outside of Python, could not answer a Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _end_with_parent()
    with alive(folder):
        work(folder, int(os.environ["RANK"]))


def _end_with_parent() -> None:
    """End this process when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "the agent starts workers through multiprocessing"

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, name="pbkd-parent", daemon=True).start()


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Hand over the launcher `local`."""
    return [LocalLauncher]
