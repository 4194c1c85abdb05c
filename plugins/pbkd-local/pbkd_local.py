"""Workers on this machine, one process each; a single worker runs in this process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
from pbkd.execution import (
    emit_heartbeats,
    modules_to_preload,
    record_lost_process,
    record_restart,
    watch_heartbeats,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pbkd import Worker
    from pbkd.protocols import Launcher

    Work = Callable[[Path, int], None]

PBKD_CONTRACT = 1


@dataclass(frozen=True)
class LocalLauncher:
    """Start workers with torch's elastic agent; their output goes to `logs` in the run folder.

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
        message = ""
        for attempt in range(self.restarts + 1):
            try:
                self._run_agent(work, folder, len(workers))
            except ChildFailedError as error:
                rank, failure = error.get_first_failure()
                previous, message = message, _message(failure, folder / "logs")
                reason = f"worker {rank} failed ({message})"
                # What failed twice in the same way is going to fail a third time.
                if attempt == self.restarts or (message == previous and failure.exitcode >= 0):
                    raise WorkerError(f"{reason}: see {folder / 'logs'}.") from error
                record_restart(folder, reason, attempt + 1)
            else:
                return

    def _run_agent(self, work: Work, folder: Path, workers: int) -> None:
        on_lost = partial(record_lost_process, folder)
        with (
            _signals_restored(),
            _agent_logs_silenced(),
            watch_heartbeats(folder, self.patience, on_lost),
        ):
            elastic_launch(_config(folder, workers), _worker)(work, folder)


def _config(folder: Path, workers: int) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=workers,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=folder.name,
        # The agent would restart even workers that fail in the same way each time.
        max_restarts=0,
        start_method=_start_method(),
        logs_specs=DefaultLogsSpecs(str(folder / "logs"), redirects=Std.ALL),
    )


def _start_method() -> str:
    """Choose how processes start: as forks of a server that has imported torch, if possible.

    The server has started no threads and used no device, so that forking it is safe. Forks start in
    tenths of a second, a new interpreter takes seconds.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return "spawn"
    multiprocessing.set_forkserver_preload(modules_to_preload())
    return "forkserver"


def _message(failure: ProcessFailure, logs: Path) -> str:
    """Return the last line of a failed worker's error, or of its log."""
    message = failure.message
    if isinstance(message, dict):
        message = message.get("message", "")
    elif failure.exitcode > 0:
        written = logs.glob(f"*/attempt_0/{failure.local_rank}/stderr.log")
        newest = max(written, key=lambda path: path.stat().st_mtime, default=None)
        default = f"exit code {failure.exitcode} before its work began, with the reason above"
        message = (newest.read_text().strip() if newest else "") or default
    return str(message).strip().splitlines()[-1]


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Restore the signal handlers that the agent replaces; turn its exception into Python's own."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    main = threading.current_thread() is threading.main_thread()
    signals = [getattr(signal, name) for name in names if main and hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in signals}
    try:
        yield
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        raise SystemExit(128 + error.sigval) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _agent_logs_silenced() -> Iterator[None]:
    """Keep the agent's log lines off the terminal: the `WorkerError` says the same."""
    registered = logging.root.manager.loggerDict.items()  # each module sets its own level
    prefixes = ("torch.distributed", "torch.multiprocessing")
    loggers = [
        logger
        for name, logger in registered
        if name.startswith(prefixes) and isinstance(logger, logging.Logger)
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@record
def _worker(work: Work, folder: Path) -> None:
    # A worker that is blocked in torch, waiting for another, could not handle Ctrl-C in Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _end_with_parent()
    with emit_heartbeats(folder):
        work(folder, int(os.environ["RANK"]))


def _end_with_parent() -> None:
    """End this process when its parent ends for any reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "the agent starts workers through multiprocessing"

    def exit_after_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=exit_after_parent, name="pbkd-parent", daemon=True).start()


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Register the launcher `local`."""
    return [LocalLauncher]
