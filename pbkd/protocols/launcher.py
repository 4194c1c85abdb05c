"""Launchers: how workers are started."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pbkd.core.schedule import Worker


__all__ = ["Launcher"]


class Launcher(Protocol):
    """Starts workers.

    A launcher whose workers are on other machines also has a method `workers(request)`, which takes
    a `pbkd.execution.WorkerRequest` and returns the workers that exist, with their speeds and
    links, as a sequence of `Worker`. It is called in planning, in the host process; the requested
    number of workers need not be met.
    """

    name: ClassVar[str]

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Run `work(folder, worker.rank)` for every worker, and return when all are done.

        With several workers `work` expects the environment variables RANK and WORLD_SIZE, and
        either what `pbkd.execution.private_store` yields, for workers on one machine, or the
        variables of torch's launchers, MASTER_ADDR and MASTER_PORT.

        Called in the host process, once for each phase that trains blocks: teacher-fed, the second
        training of blocks that failed, and student-fed.

        Args:
            work: The worker's main function; it can be pickled.
            folder: The run folder, which holds all that the workers need.
            workers: The workers to start.

        Raises:
            WorkerError: A worker ended before its jobs were done.
        """
        ...
