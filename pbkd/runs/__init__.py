"""Everything in a run folder. These names are the interface for observer plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.core.events import BlockScored, BlockTrained, EpochDone, PhaseStarted, StepsDone
    from pbkd.runs.events import read_events

__all__ = [
    "BlockScored",
    "BlockTrained",
    "EpochDone",
    "PhaseStarted",
    "StepsDone",
    "read_events",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "BlockScored": "pbkd.core.events",
        "BlockTrained": "pbkd.core.events",
        "EpochDone": "pbkd.core.events",
        "PhaseStarted": "pbkd.core.events",
        "StepsDone": "pbkd.core.events",
        "read_events": "pbkd.runs.events",
    },
)
