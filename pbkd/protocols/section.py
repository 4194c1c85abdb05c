"""Report sections: what a plugin adds to the report of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.baselines import BaselineResult
    from pbkd.core.blocks import BlockCost
    from pbkd.core.events import Event
    from pbkd.core.results import RunResult
    from pbkd.core.schedule import Schedule, Worker
    from pbkd.core.workload import Workload


__all__ = ["ReportSection", "ReportedPlan", "ReportedRun"]


@dataclass(frozen=True, kw_only=True)
class ReportedPlan:
    """The plan of a run's teacher-fed phase.

    Attributes:
        costs: Costs per step, in the order of the chain.
        workers: The workers, ordered by rank.
        schedule: Their jobs.
        workload: The training steps.
        scheduler: The scheduler's name.
        why: Why it was chosen; empty if there was no choice.
    """

    costs: Sequence[BlockCost]
    workers: Sequence[Worker]
    schedule: Schedule
    workload: Workload
    scheduler: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """A finished run, as it was read from its folder, which may be untrusted.

    Attributes:
        name: The name of the folder.
        result: The result.
        baselines: The baselines, by name.
        events: The recorded events, in order of time.
        configuration: The configuration as YAML; None if it is damaged.
        plan: The plan; None if it is damaged.
    """

    name: str
    result: RunResult
    baselines: Mapping[str, BaselineResult]
    events: Sequence[Event]
    configuration: str | None
    plan: ReportedPlan | None


class ReportSection(Protocol):
    """Adds a section to the HTML report of a run (`pbkd report --section NAME`).

    Attributes:
        title: The heading of the section.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def render(self, run: ReportedRun) -> str | None:
        """Return the section's content.

        Text is escaped and shown as a paragraph. HTML is a `pbkd.report.Markup`, as `element` and
        `table` of `pbkd.report` make it. A page loads nothing and runs no script but its own: its
        content security policy forbids it.

        Called once by `pbkd report`, in the host process. If it fails, the report has a note.

        Args:
            run: The run, a copy.

        Returns:
            The content; None to leave the section out.
        """
        ...
