"""Workers that torchrun started, on one machine or many, which need no folder in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.execution.remote.rendezvous import met

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pbkd import RunConfig, Worker
    from pbkd.protocols import Launcher

PBKD_CONTRACT = 1


@dataclass(frozen=True)
class TorchrunLauncher:
    """Use the processes of `torchrun -m pbkd run`; it is what `local` means in them.

    Each is one worker, whatever `workers` says, on its own device with its share of the cores. When
    one is silent for `patience` seconds the run ends, and goes on when torchrun starts it again.
    """

    name: ClassVar[str] = "torchrun"
    patience: float = 60.0

    def workers(self, config: RunConfig) -> tuple[Worker, ...]:
        """Return all processes, with the speeds and links that were measured between them."""
        return met().workers(config, self.patience)

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Have every process do its part; raises `WorkerError` where one fails or is lost."""
        met().launch(work, folder, workers)


@hookimpl
def register_launchers() -> list[type[Launcher]]:
    """Hand over the launcher `torchrun`."""
    return [TorchrunLauncher]
