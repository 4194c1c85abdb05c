"""Workers in the processes that torchrun started, on one machine or many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.execution import current_coordinator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pbkd import Worker
    from pbkd.execution import WorkerRequest
    from pbkd.protocols import Launcher

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class TorchrunLauncher:
    """Use the processes of `torchrun -m pbkd run`; in them, `local` means this launcher.

    Each process is one worker, regardless of the option `workers`, with its own device and its
    share of the cores. The machines need no shared folder. If a process is silent for `patience`
    seconds, the run ends, and resumes when torchrun restarts it.
    """

    name: ClassVar[str] = "torchrun"
    patience: float = 60.0

    def workers(self, request: WorkerRequest) -> tuple[Worker, ...]:
        """Describe all processes, with measured speeds and links.

        Args:
            request: The workers that the run asks for.

        Raises:
            WorkerError: This process was not started by torchrun, or a process is lost.
        """
        return current_coordinator().workers(request, self.patience)

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Have every process do its part.

        Args:
            work: Does one worker's part, for the run folder and a rank.
            folder: The run folder.
            workers: The workers of the schedule.

        Raises:
            WorkerError: A process fails or is lost.
        """
        current_coordinator().launch(work, folder, workers)


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Register the launcher `torchrun`."""
    return [TorchrunLauncher]
