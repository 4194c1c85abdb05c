"""The context of a run: what the host's stages have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.energy.phases import PhaseClock
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.planning.plan import Plan
    from pbkd.plugin.observers import Observers
    from pbkd.plugin.registry import Registry
    from pbkd.runs.events import EventLog
    from pbkd.training.task import DistillationTask


__all__ = ["RunContext"]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What every stage of a run may use.

    Attributes:
        planned: Everything that was decided before training.
        registry: The plugins.
        folder: The run folder.
        log: Records events and passes them on.
        clock: Measures the phases.
        observers: Follow the run.
    """

    planned: PlannedRun
    registry: Registry
    folder: Path
    log: EventLog
    clock: PhaseClock
    observers: Observers

    @property
    def task(self) -> DistillationTask:
        """Teacher, data and chain."""
        return self.planned.task

    @property
    def plan(self) -> Plan:
        """Blocks, workers and schedule."""
        return self.planned.plan
