"""Jobs of a shared queue, each claimed by whichever worker is free first."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from torch.distributed import is_torchelastic_launched
from torch.distributed.rendezvous import rendezvous

from pbkd.execution.torchrun import meeting_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pbkd.core.schedule import Job, Schedule


__all__ = ["claimed"]


def claimed(schedule: Schedule, rank: int, queue: str) -> Iterator[Job]:
    """Yield the worker's own jobs, then shared ones, each claimed by one worker only.

    `queue` names the queue among all that the workers of this launch share.
    """
    yield from schedule.assigned[rank]
    if schedule.shared:
        ticket = _shared_counter(queue)
        while (index := ticket()) < len(schedule.shared):
            yield schedule.shared[index]


def _shared_counter(name: str) -> Callable[[], int]:
    """Count 0, 1, 2 … over all workers, in their TCPStore, or alone in one process."""
    if not is_torchelastic_launched():
        return itertools.count().__next__
    store, _, _ = next(iter(rendezvous("env://")))
    # Workers that are started again in the same store must not miss what was claimed before.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    key = meeting_key(f"{name}/{attempt}")
    return lambda: store.add(key, 1) - 1
