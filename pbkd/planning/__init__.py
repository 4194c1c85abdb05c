"""Costs, schedules, predictions, limits. These names are the interface for scheduler plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.planning.cost_model import makespan, worker_seconds
    from pbkd.planning.stage_cost import (
        Link,
        StageLoad,
        StageParts,
        StageWorkers,
        stage_load,
        stage_parts,
        stage_seconds,
    )

__all__ = [
    "Link",
    "StageLoad",
    "StageParts",
    "StageWorkers",
    "makespan",
    "stage_load",
    "stage_parts",
    "stage_seconds",
    "worker_seconds",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Link": "pbkd.planning.stage_cost",
        "StageLoad": "pbkd.planning.stage_cost",
        "StageParts": "pbkd.planning.stage_cost",
        "StageWorkers": "pbkd.planning.stage_cost",
        "makespan": "pbkd.planning.cost_model",
        "stage_load": "pbkd.planning.stage_cost",
        "stage_parts": "pbkd.planning.stage_cost",
        "stage_seconds": "pbkd.planning.stage_cost",
        "worker_seconds": "pbkd.planning.cost_model",
    },
)
