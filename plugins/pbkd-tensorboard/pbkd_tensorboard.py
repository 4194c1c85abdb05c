"""A run as TensorBoard event files while it goes on: its blocks, fine-tuning, and power."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import hookimpl
from pbkd.runs import EpochDone, PowerRead, read_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd import RunInfo, RunResult
    from pbkd.runs import Event

PBKD_CONTRACT = 2

if find_spec("tensorboard") is None:
    raise ImportError("TensorBoard is not installed: pip install 'pbkd[tensorboard]'")


@dataclass(frozen=True)
class TensorBoardObserver:
    """Write losses, accuracies and watts to the folder `tensorboard` of the run, as they come."""

    name: ClassVar[str] = "tensorboard"
    _writers: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _written: set[tuple[str, str, int]] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        """Import TensorBoard, which takes a second, before the run is measured."""
        import torch.utils.tensorboard  # noqa: F401

    def run_started(self, run: RunInfo) -> None:
        """Begin anew, with the events that a resumed run has already."""
        shutil.rmtree(run.folder / "tensorboard", ignore_errors=True)
        for event in read_events(run.folder):
            self.event(event, run)

    def event(self, event: Event, run: RunInfo) -> None:
        """Write the event's figures, each once."""
        for name, tag, value, step in _scalars(event):
            if (name, tag, step) not in self._written:
                self._written.add((name, tag, step))
                writer = self._writer(run.folder, name)
                writer.add_scalar(tag, value, step, event.time)
                writer.flush()

    def run_finished(self, result: RunResult, run: RunInfo) -> None:  # noqa: ARG002
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, folder: Path, name: str) -> Any:
        from torch.utils.tensorboard.writer import SummaryWriter

        if name not in self._writers:
            self._writers[name] = SummaryWriter(str(folder / "tensorboard" / name))
        return self._writers[name]


def _scalars(event: Event) -> Iterator[tuple[str, str, float, int]]:
    """Yield TensorBoard run, tag, value and step of each figure of an event."""
    if isinstance(event, EpochDone):
        name = "fine-tuning" if event.phase == "fine-tuning" else event.block
        yield name, f"loss/{event.phase}", event.loss, event.epoch
        if event.accuracy is not None:
            yield name, f"accuracy/{event.phase}", event.accuracy, event.epoch
    elif isinstance(event, PowerRead):
        for domain, watts in event.watts.items():
            yield "power", f"watts/{domain}", watts, int(event.time)


@hookimpl
def register_observers() -> list[type[TensorBoardObserver]]:
    """Register the observer `tensorboard`."""
    return [TensorBoardObserver]
