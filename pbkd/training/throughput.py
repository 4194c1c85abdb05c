"""The progress of a training: an event when it begins, then its step count every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pbkd.core.events import StepsDone

if TYPE_CHECKING:
    from pbkd.core.events import Emit, JobStarted


__all__ = ["Pace", "begin_job"]

_EVERY = 5.0  # seconds
Pace = Callable[[Iterable[Any]], Iterator[Any]]


def begin_job(job: JobStarted, emit: Emit) -> Pace:
    """Emit `job`, and count its steps.

    A step counts when the next one is requested, so that nothing waits for the device.

    Args:
        job: The job that begins.
        emit: Gets `job`, and then at most every five seconds the number of steps done, counted
            from the job's first epoch.

    Returns:
        A function that passes on the items of an epoch and counts them.
    """
    emit(job)
    done, emitted = job.begun * job.steps, time.monotonic()

    def counted(items: Iterable[Any]) -> Iterator[Any]:
        nonlocal done, emitted
        for item in items:
            yield item
            done += 1
            if time.monotonic() - emitted >= _EVERY:
                emitted = time.monotonic()
                emit(StepsDone(worker=job.worker, phase=job.phase, steps=done))

    return counted
