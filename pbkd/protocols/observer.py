"""Observers: what follows a run while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from pbkd.core.events import Event
    from pbkd.core.results import BlockResult, RunResult


__all__ = ["Observer", "RunInfo"]


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The run that an observer follows; each observer has its own copy.

    Attributes:
        folder: The run folder, an absolute path.
        identity: The settings and inputs that the result depends on, as in `identity.json`.
        configuration: The resolved configuration, nested by key.
        plan: The plan, as in `plan.json`.
    """

    folder: Path
    identity: Mapping[str, Any]
    configuration: Mapping[str, Any]
    plan: Mapping[str, Any]


class Observer(Protocol):
    """Follows a run that names it in `observers`.

    It has at least one of the methods below, which are called in the host process, in a thread of
    the observer's own, in the order in which things happened. The run does not wait for them: what
    the observer has not handled yet is in a backlog, from which, when it holds 1000 events, the
    oldest is dropped, `StepsDone` and `PowerRead` first. When the run is over, the observer has 10
    seconds for the rest of its backlog and 30 seconds in all. A note says if events were dropped,
    if it did not end in time, and which method raised an exception. What the methods get are
    copies. No call begins while latencies are measured. An observer that computes takes processor
    time from the run, and joules, which a note says; what takes long, such as imports, belongs in
    its constructor, which is called before the run is measured. It shares the process with the run:
    it must leave the working directory, torch's settings and torch's random numbers as they are.

    On resuming a run, a new observer gets `run_started` again, and `block_finished` and the events
    `EpochDone` and `BlockTrained` also for blocks that were trained before.
    """

    name: ClassVar[str]

    def run_started(self, run: RunInfo) -> None:
        """Observe that a run is planned and its folder exists.

        Called once, before all other methods, and once more whenever the run is resumed.

        Args:
            run: The run.
        """
        ...

    def event(self, event: Event, run: RunInfo) -> None:
        """Observe an event of the run, as it happens; events of planning follow `run_started`.

        Called once for each event but `RunFinished`, unless the backlog is full.

        Args:
            event: The event, of one of the types that `pbkd.runs` exports.
            run: The run.
        """
        ...

    def block_finished(self, result: BlockResult, run: RunInfo) -> None:
        """Observe that a candidate is trained, or has failed for good.

        Called once for each candidate, while others are still trained.

        Args:
            result: The candidate's result; scores and `replaced` are None until they are decided.
            run: The run.
        """
        ...

    def run_finished(self, result: RunResult, run: RunInfo) -> None:
        """Observe the result, after it was written to the run folder.

        Called once, after all other methods; not if the run fails or is stopped.

        Args:
            result: The result.
            run: The run.
        """
        ...
