"""The pool from which a launcher in the host process sends each worker its next job.

Used by launchers that reach their workers by messages (such as Ray). Workers that share a store
claim jobs themselves: `pbkd.execution.job_queue`.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule
from pbkd.execution.remote.folder_sync import pack_folder
from pbkd.runs.assignment import read_assignment, write_assignment

if TYPE_CHECKING:
    from pbkd.execution.remote.folder_sync import FolderDelta


__all__ = ["JobPool", "independent_jobs", "pack_job"]


class JobPool:
    """The jobs of a phase: each worker takes its assigned jobs first, then shared ones.

    Threads may use it at the same time.
    """

    def __init__(self, schedule: Schedule) -> None:
        """Fill the pool with the jobs of a schedule whose feed is `recompute`."""
        self._assigned = [deque(jobs) for jobs in schedule.assigned]
        self._shared = deque(schedule.shared)
        self._lock = threading.Lock()

    def take(self, rank: int) -> Job | None:
        """Remove and return the next job of a worker; None if none is left."""
        with self._lock:
            if self._assigned[rank]:
                return self._assigned[rank].popleft()
            return self._shared.popleft() if self._shared else None

    def release_jobs_of(self, rank: int, job: Job) -> None:
        """Share the job that a lost worker was running, and all others assigned to it."""
        with self._lock:
            self._shared.extend([job, *self._assigned[rank]])
            self._assigned[rank].clear()

    @property
    def blocks_left(self) -> list[str]:
        """The blocks of the shared jobs that nobody has taken."""
        return [name for job in self._shared for name in job.blocks]


def independent_jobs(folder: Path) -> JobPool | None:
    """Return the jobs of the current phase if they need no activations from each other.

    Args:
        folder: The run folder, as `launch` receives it.

    Returns:
        All jobs of the phase; None where workers exchange activations or fill a cache together,
        and where the folder has no assignment.
    """
    if not (folder / "assignment.json").exists():
        return None
    schedule = read_assignment(folder).schedule
    return JobPool(schedule) if schedule.feed == "recompute" else None


def pack_job(folder: Path, rank: int, job: Job) -> FolderDelta:
    """Pack the run folder with an assignment that gives one worker this one job.

    Args:
        folder: The run folder, as `launch` receives it.
        rank: The worker that is going to run the job.
        job: A job from the phase's `JobPool`.

    Returns:
        The contents of a folder in which the worker runs only this job.
    """
    assignment = read_assignment(folder)
    assigned = tuple((job,) if other == rank else () for other in range(len(assignment.workers)))
    with tempfile.TemporaryDirectory(prefix="pbkd-") as name:
        write_assignment(Path(name), replace(assignment, schedule=Schedule(assigned)))
        return {**pack_folder(folder), **pack_folder(Path(name))}
