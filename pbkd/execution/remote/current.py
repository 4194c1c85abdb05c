"""The coordinator that this process is, if torchrun started it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbkd.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.execution.remote.coordinator import Coordinator


__all__ = ["coordinating", "current_coordinator"]

_active: list[Coordinator] = []


def current_coordinator() -> Coordinator:
    """Return the coordinator that this process is.

    Raises:
        WorkerError: This process was not started by torchrun, or follows another one.
    """
    if not _active:
        raise WorkerError(
            "the launcher 'torchrun' works in processes that torchrun started: run `torchrun"
            " --nproc-per-node=2 -m pbkd run …`, or say launcher=local."
        )
    return _active[-1]


@contextmanager
def coordinating(coordinator: Coordinator) -> Iterator[None]:
    """Make a coordinator this process's own within the context."""
    _active.append(coordinator)
    try:
        yield
    finally:
        _active.remove(coordinator)
