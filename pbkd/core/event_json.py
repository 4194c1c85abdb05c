"""Conversion of events to and from the lines of JSON in which they are recorded."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    CheckpointDamaged,
    CostsChecked,
    CurveFinished,
    EpochDone,
    JobStarted,
    Note,
    PhaseStarted,
    PlanMade,
    PowerRead,
    Restarted,
    Resumed,
    RunFinished,
    RunStopped,
    StepsDone,
    StepsTimed,
    TeacherScored,
    WorkerLost,
)
from pbkd.core.plain_data import from_plain, to_plain
from pbkd.core.plausible_numbers import is_plausible

if TYPE_CHECKING:
    from pbkd.core.events import Event


__all__ = ["from_json", "to_json"]

_KINDS: dict[str, type[Event]] = {
    "phase": PhaseStarted,
    "teacher": TeacherScored,
    "plan": PlanMade,
    "job": JobStarted,
    "steps": StepsDone,
    "times": StepsTimed,
    "costs": CostsChecked,
    "epoch": EpochDone,
    "block": BlockTrained,
    "score": BlockScored,
    "power": PowerRead,
    "note": Note,
    "worker lost": WorkerLost,
    "restart": Restarted,
    "checkpoint damaged": CheckpointDamaged,
    "resumed": Resumed,
    "result": RunFinished,
    "curve": CurveFinished,
    "stopped": RunStopped,
}
_NAMES = {cls: kind for kind, cls in _KINDS.items()}


def to_json(event: Event) -> dict[str, Any]:
    """Convert an event to plain data: its kind as `event`, `time`, and its other fields.

    Numbers that JSON lacks (NaN, infinities) stay; `pbkd.core.plain_data.finite` replaces them.
    """
    head = {"event": _NAMES[type(event)], "time": event.time}
    if isinstance(event, (RunFinished, CurveFinished)):
        return {**head, "result": event.result.to_dict()}
    return {**head, **to_plain(event)}


def from_json(data: object) -> Event | None:
    """Convert plain data, perhaps from an untrusted file, back to an event.

    Returns:
        The event; None for an unknown kind, a missing field or one of a wrong type, a number that
        is out of range, and for the kinds `result` and `curve`, which have files of their own.
    """
    kind = data.get("event") if isinstance(data, dict) else None
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if (
        cls in (None, RunFinished, CurveFinished)
        or not isinstance(data, dict)
        or "time" not in data
    ):
        return None
    try:
        known = {field.name for field in fields(cls)}
        event: Event = from_plain(cls, {key: data[key] for key in data if key in known})
    except (RecursionError, ValueError):
        return None
    return event if is_plausible("", event) else None
