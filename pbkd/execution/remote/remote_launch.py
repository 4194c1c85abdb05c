"""Work on workers elsewhere: independent jobs one by one, or all workers together."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pbkd.errors import WorkerError
from pbkd.execution.job_pool import independent_jobs, pack_job
from pbkd.execution.launcher_events import record_restart
from pbkd.execution.remote.folder_sync import apply_delta, pack_folder
from pbkd.execution.remote.remote_workers import LostWorkerError
from pbkd.execution.remote.worker_files import writable_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.schedule import Job
    from pbkd.execution.job_pool import JobPool
    from pbkd.execution.remote.folder_sync import FolderDelta
    from pbkd.execution.remote.remote_workers import RemoteWorkers


__all__ = ["launch_remotely"]

_GRACE = 10.0  # seconds in which a loss shows after workers that waited for the lost one failed


def launch_remotely(
    work: Callable[[Path, int], None], folder: Path, workers: RemoteWorkers, restarts: int
) -> None:
    """Have all workers do their parts in copies of the run folder; write their results into it.

    Independent jobs go to the first free worker, and the jobs of a lost one to the others. Workers
    that need each other are restarted together, from their checkpoints.

    Args:
        work: The function that `launch` receives.
        folder: The run folder.
        workers: As many as the phase has.
        restarts: How often workers that need each other may be restarted, and how many workers a
            job may lose.

    Raises:
        WorkerError: A worker fails, or too few are left.
    """
    launch = _Launch(work, folder, workers)
    jobs = independent_jobs(folder) if len(workers) > 1 else None
    if jobs is not None:
        _run_jobs(launch, jobs, restarts)
    else:
        _run_together(launch, restarts)


@dataclass
class _Launch:
    """One launch of work."""

    work: Callable[[Path, int], None]
    folder: Path
    workers: RemoteWorkers
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self, rank: int) -> tuple[str, int]:
        """Have a worker import what it needs; return its address and a free port there."""
        address: tuple[str, int] = next(self.workers.results(rank, "prepare"))
        return address

    def run(self, rank: int, contents: FolderDelta, environment: Mapping[str, str]) -> None:
        """Run one worker; write its own files into the run folder."""
        allowed = writable_files(contents, rank)
        for delta in self.workers.results(rank, "work", self.work, rank, contents, environment):
            with self.lock:
                apply_delta(delta, self.folder, allowed)


def _run_jobs(launch: _Launch, jobs: JobPool, restarts: int) -> None:
    """Run independent jobs one at a time; a lost worker's jobs go to the others."""
    losses: Counter[Job] = Counter()

    def serve(rank: int) -> bool:
        """Do jobs until there are none; return whether the worker is still there."""
        prepared = False
        while job := jobs.take(rank):
            try:
                if not prepared:
                    launch.prepare(rank)
                prepared = True
                launch.run(rank, pack_job(launch.folder, rank, job), {})
            except LostWorkerError as error:
                prepared = False
                jobs.release_jobs_of(rank, job)
                losses[job] += 1
                if losses[job] > restarts:
                    raise _give_up(error) from error
                record_restart(launch.folder, str(error))
                if not launch.workers.restart(rank):
                    return False
        return True

    ranks = list(range(len(launch.workers)))
    while True:
        is_left = launch.workers.at_once(serve, ranks)
        ranks = [rank for rank, left in zip(ranks, is_left, strict=True) if left]
        if not (blocks := ", ".join(jobs.blocks_left)):
            return
        if not ranks:
            raise WorkerError(f"too few workers are left to train {blocks}.")


def _run_together(launch: _Launch, restarts: int) -> None:
    """Run workers that need each other; if one is lost, restart all from their checkpoints."""
    ranks = range(len(launch.workers))
    for attempt in range(restarts + 1):
        try:
            _run_once_together(launch, ranks)
        except LostWorkerError as error:
            if attempt == restarts or not all(map(launch.workers.restart, ranks)):
                raise _give_up(error) from error
            record_restart(launch.folder, str(error))
        else:
            return


def _run_once_together(launch: _Launch, ranks: Sequence[int]) -> None:
    """Run workers that need each other, until all are done, or one is lost or fails."""
    contents = pack_folder(launch.folder)
    host, port = launch.workers.at_once(launch.prepare, ranks)[0]
    environment = {"WORLD_SIZE": str(len(ranks)), "MASTER_ADDR": host, "MASTER_PORT": str(port)}

    def run(rank: int) -> None:
        launch.run(rank, contents, {**environment, "RANK": str(rank)})

    launch.workers.at_once(run, ranks, _GRACE)


def _give_up(error: LostWorkerError) -> WorkerError:
    return WorkerError(
        f"{error}, and nothing takes its place: there is no room for another, or workers are lost"
        " again and again."
    )
