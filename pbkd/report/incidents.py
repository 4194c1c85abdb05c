"""Failures that a run recovered from, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.events import CheckpointDamaged, Restarted, WorkerLost

if TYPE_CHECKING:
    from pbkd.core.events import Event


__all__ = ["describe_incident"]


def describe_incident(event: Event) -> str | None:
    """Describe a failure that the run recovered from; None for any other event."""
    match event:
        case WorkerLost():
            return (
                f"worker lost: process {event.pid} gave no sign of life"
                f" for {event.silent_seconds:.0f} s"
            )
        case Restarted():
            return f"restart: {event.reason}"
        case CheckpointDamaged():
            return f"checkpoint damaged: {event.reason}"
        case _:
            return None
