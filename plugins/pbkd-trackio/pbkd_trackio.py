"""A run as a run of trackio, or of wandb, which has the same functions."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd import hookimpl
from pbkd.runs import EpochDone, PowerRead, Resumed, read_events

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd import RunInfo, RunResult
    from pbkd.runs import Event

PBKD_CONTRACT = 2

_INSTALLATION = {"trackio": "pip install 'pbkd[trackio]'", "wandb": "pip install wandb"}


@dataclass(frozen=True)
class TrackioObserver:
    """Log losses, accuracies and watts as they come, and the result, to trackio or wandb.

    Args:
        package: `trackio` or `wandb`.
        project: The project of the run.
    """

    name: ClassVar[str] = "trackio"
    package: str = "trackio"
    project: str = "pbkd"
    _state: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Import the package, which takes seconds, before the run is measured."""
        if self.package not in _INSTALLATION:
            raise ValueError(f"package is '{self.package}', but must be trackio or wandb")
        if find_spec(self.package) is None:
            raise ValueError(f"{self.package} is not installed: {_INSTALLATION[self.package]}")
        import_module(self.package)

    def run_started(self, run: RunInfo) -> None:
        """Begin a run with the name of the run folder; a resumed one goes on."""
        extra = {"id": _run_id(run.folder)} if self.package == "wandb" else {}
        self._state["run"] = import_module(self.package).init(
            project=self.project,
            name=run.folder.name,
            config=dict(run.configuration),
            resume="allow",
            **extra,
        )
        self._state["logged"] = _epochs_before(run.folder)

    def event(self, event: Event, run: RunInfo) -> None:  # noqa: ARG002
        """Log the figures of an event; epochs from before a resumption are logged already."""
        if isinstance(event, EpochDone) and _key(event) not in self._state["logged"]:
            self._state["run"].log({**_figures(event), "epoch": event.epoch})
        elif isinstance(event, PowerRead):
            self._state["run"].log({f"power/{name}": watts for name, watts in event.watts.items()})

    def run_finished(self, result: RunResult, run: RunInfo) -> None:  # noqa: ARG002
        """Log teacher's and student's figures, and end the run."""
        figures: dict[str, Any] = {}
        for role in ("teacher", "student"):
            network = getattr(result, role)
            for figure in ("accuracy", "agreement", "parameters", "macs"):
                value = getattr(network, figure)
                figures |= {} if value is None else {f"{role}/{figure}": value}
        self._state["run"].log(figures)
        self._state["run"].finish()


def _figures(event: EpochDone) -> dict[str, float]:
    if event.phase != "fine-tuning":
        return {f"{event.phase}/{event.block}": event.loss}
    accuracy = {} if event.accuracy is None else {"fine-tuning/accuracy": event.accuracy}
    return {"fine-tuning/loss": event.loss, **accuracy}


def _key(event: EpochDone) -> tuple[str, str, int]:
    return event.phase, event.block, event.epoch


def _epochs_before(folder: Path) -> set[tuple[str, str, int]]:
    """Return the epochs that were done when the run was last resumed; none of a new run."""
    events = read_events(folder)
    resumed = [index for index, event in enumerate(events) if isinstance(event, Resumed)]
    before = events[: resumed[-1]] if resumed else []
    return {_key(event) for event in before if isinstance(event, EpochDone)}


def _run_id(folder: Path) -> str:
    """Return an identifier that no run on another machine has; the same on resuming."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{socket.gethostname()}{folder}").hex[:16]


@hookimpl
def register_observers() -> list[type[TrackioObserver]]:
    """Register the observer `trackio`."""
    return [TrackioObserver]
