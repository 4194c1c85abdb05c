"""Write a table of all epochs of a run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.runs import EpochDone

if TYPE_CHECKING:
    from pbkd import BlockResult, RunInfo, RunResult
    from pbkd.runs import Event

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class EpochTable:
    """Append a row for each epoch, block and result to a file in the run folder.

    Args:
        file: Name of the file.
    """

    name: ClassVar[str] = "epoch-table"
    file: str = "epochs.csv"

    def run_started(self, run: RunInfo) -> None:
        """Begin the file."""
        self._row(run, "start", run.configuration["seed"])

    def event(self, event: Event, run: RunInfo) -> None:
        """Add an epoch."""
        if isinstance(event, EpochDone):
            self._row(run, event.phase, event.block, event.epoch, event.loss)

    def block_finished(self, result: BlockResult, run: RunInfo) -> None:
        """Add a block, which is not accepted yet."""
        self._row(run, "block", result.name, result.replaced)

    def run_finished(self, result: RunResult, run: RunInfo) -> None:
        """Add the result."""
        self._row(run, "result", result.student.accuracy)

    def _row(self, run: RunInfo, *cells: object) -> None:
        with (run.folder / self.file).open("a", newline="") as file:
            csv.writer(file).writerow(cells)


@hookimpl
def register_observers() -> list[type[EpochTable]]:
    """Register the observer `epoch-table`."""
    return [EpochTable]
