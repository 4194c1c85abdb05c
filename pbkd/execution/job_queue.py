"""The shared job queue, from which each worker claims its own next job.

Used by the worker processes (and the benchmarks), through the store that they share. Launchers that
send jobs to their workers use `pbkd.execution.job_pool`.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from torch.distributed import is_torchelastic_launched

from pbkd.execution.store import STORE, open_store
from pbkd.execution.torchrun import store_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.core.schedule import Job, Schedule


__all__ = ["claim_jobs"]


def claim_jobs(schedule: Schedule, rank: int, queue: str) -> Iterator[Job]:
    """Yield the jobs assigned to a worker, then shared jobs, each claimed by one worker only.

    Args:
        schedule: The assigned and the shared jobs.
        rank: The worker that claims.
        queue: Name of the queue, unique within one launch.
    """
    yield from schedule.assigned[rank]
    if schedule.shared:
        next_index = _shared_counter(queue)
        while (index := next_index()) < len(schedule.shared):
            yield schedule.shared[index]


def _shared_counter(name: str) -> Callable[[], int]:
    """Return a counter over all workers, in their store, or a local one in one process."""
    if STORE not in os.environ and not is_torchelastic_launched():
        return itertools.count().__next__
    store = open_store()
    key = store_key(name)
    return lambda: store.add(key, 1) - 1
