"""Workers on this machine, one process each; a single worker stays in this process."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pbkd import hookimpl
from pbkd.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pbkd import Worker
    from pbkd.protocols import Launcher


@dataclass(frozen=True)
class LocalLauncher:
    """Start workers with torch's elastic agent; their output goes to `logs` in the run folder."""

    name: ClassVar[str] = "local"

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Run every worker to its end; raises `WorkerError` where one fails."""
        if len(workers) == 1:
            work(folder, workers[0].rank)
            return
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=len(workers),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id=folder.name,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(str(folder / "logs"), redirects=Std.ALL),
        )
        try:
            with _agent_kept_quiet():
                elastic_launch(config, _worker)(work, folder)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            reason = failure.message
            if isinstance(reason, dict):
                reason = reason.get("message", "")
            raise WorkerError(
                f"worker {rank} failed ({str(reason).strip().splitlines()[-1]}): see"
                f" {folder / 'logs'}."
            ) from error


@contextmanager
def _agent_kept_quiet() -> Iterator[None]:
    """Keep the agent's log lines off the terminal: what they tell is in the `WorkerError`."""
    loggers = [logging.getLogger(f"torch.{name}") for name in ("distributed", "multiprocessing")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@record
def _worker(work: Callable[[Path, int], None], folder: Path) -> None:
    work(folder, int(os.environ["RANK"]))


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Hand over the launcher `local`."""
    return [LocalLauncher]
