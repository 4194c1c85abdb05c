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
    """The run that an observer follows.

    Attributes:
        folder: The run folder.
        identity: The settings that the result depends on, as `identity.json` has them.
        configuration: The resolved configuration, nested by key.
        plan: The plan, as `plan.json` has it.
    """

    folder: Path
    identity: Mapping[str, Any]
    configuration: Mapping[str, Any]
    plan: Mapping[str, Any]


class Observer(Protocol):
    """Follows a run that names it in `observers`.

    Its methods are called in the host process, in one thread of their own, in the order in which
    things happen; the run does not wait for them. An exception is reported as a note.
    """

    name: ClassVar[str]

    def run_started(self, run: RunInfo) -> None:
        """Observe that a run is planned and its folder exists; on resuming it is called again.

        Called once, in the host process.

        Args:
            run: The run.
        """
        ...

    def event(self, event: Event, run: RunInfo) -> None:
        """Observe an event of the run, as it happens.

        Called once for each event, in the host process.

        Args:
            event: One of the types of `pbkd.core.events`.
            run: The run.
        """
        ...

    def block_finished(self, result: BlockResult, run: RunInfo) -> None:
        """Observe that a candidate is trained, or has failed for good.

        Called once for each candidate, in the host process.

        Args:
            result: The candidate's result; what is decided later is None.
            run: The run.
        """
        ...

    def run_finished(self, result: RunResult, run: RunInfo) -> None:
        """Observe the result, after it was written to the run folder.

        Called once, in the host process.

        Args:
            result: The result.
            run: The run.
        """
        ...
