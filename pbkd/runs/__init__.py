"""Everything in a run folder. These names are the interface for observer plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.core.events import (
        BlockScored,
        BlockTrained,
        CheckpointDamaged,
        CostsChecked,
        EpochDone,
        Event,
        JobStarted,
        Note,
        PhaseStarted,
        PlanMade,
        PowerRead,
        Restarted,
        Resumed,
        StepsDone,
        StepsTimed,
        TeacherScored,
        WorkerLost,
    )
    from pbkd.runs.events import read_events

__all__ = [
    "BlockScored",
    "BlockTrained",
    "CheckpointDamaged",
    "CostsChecked",
    "EpochDone",
    "Event",
    "JobStarted",
    "Note",
    "PhaseStarted",
    "PlanMade",
    "PowerRead",
    "Restarted",
    "Resumed",
    "StepsDone",
    "StepsTimed",
    "TeacherScored",
    "WorkerLost",
    "read_events",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "BlockScored": "pbkd.core.events",
        "BlockTrained": "pbkd.core.events",
        "CheckpointDamaged": "pbkd.core.events",
        "CostsChecked": "pbkd.core.events",
        "EpochDone": "pbkd.core.events",
        "Event": "pbkd.core.events",
        "JobStarted": "pbkd.core.events",
        "Note": "pbkd.core.events",
        "PhaseStarted": "pbkd.core.events",
        "PlanMade": "pbkd.core.events",
        "PowerRead": "pbkd.core.events",
        "Restarted": "pbkd.core.events",
        "Resumed": "pbkd.core.events",
        "StepsDone": "pbkd.core.events",
        "StepsTimed": "pbkd.core.events",
        "TeacherScored": "pbkd.core.events",
        "WorkerLost": "pbkd.core.events",
        "read_events": "pbkd.runs.events",
    },
)
