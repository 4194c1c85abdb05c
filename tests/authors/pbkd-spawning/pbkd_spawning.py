"""Start each worker in an interpreter of its own."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.errors import WorkerError
from pbkd.execution import private_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd import Worker

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class SpawningLauncher:
    """Spawn processes, and wait until they end."""

    name: ClassVar[str] = "spawning"

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Run all workers; raise `WorkerError` if one fails."""
        context = multiprocessing.get_context("spawn")
        with private_store() as store:
            processes = [
                context.Process(target=_run, args=(work, folder, w.rank, len(workers), store))
                for w in workers
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
        failed = [w.rank for w, p in zip(workers, processes, strict=True) if p.exitcode]
        if failed:
            raise WorkerError(f"worker {failed[0]} failed: see the output above.")


def _run(
    work: Callable[[Path, int], None], folder: Path, rank: int, size: int, store: Mapping[str, str]
) -> None:
    os.environ.update({**store, "RANK": str(rank), "WORLD_SIZE": str(size)})
    work(folder, rank)


@hookimpl
def register_launchers() -> list[type[SpawningLauncher]]:
    """Register the launcher `spawning`."""
    return [SpawningLauncher]
