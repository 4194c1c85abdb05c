"""The events of a curve's points, as the curve tells of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.events import BlockScored, BlockTrained, EpochDone, JobStarted, Note, PhaseStarted
from pbkd.runs.assignment import STUDENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.events import Emit, Event


__all__ = ["forward_to_curve"]


def forward_to_curve(emit: Emit, name: str, names: Sequence[str], event: Event) -> None:
    """Emit an event of a point as one of its curve, unless the curve has one of its own.

    Candidates are named as in `0.35/conv3`, and the whole student `0.35`.

    Args:
        emit: Emits an event of the curve.
        name: The point.
        names: The points that are fine-tuned together.
        event: The event of the point.
    """
    match event:
        case BlockScored() | PhaseStarted(phase="fine-tuning"):
            return
        case EpochDone() | BlockTrained():
            event = replace(event, block=_named(name, event.block))
        case JobStarted(worker=None, phase="fine-tuning", blocks=(_, *_)):
            event = replace(event, blocks=tuple(names))
        case JobStarted():
            event = replace(event, blocks=tuple(_named(name, block) for block in event.blocks))
        case Note():
            event = replace(event, text=f"{name}: {event.text}")
    emit(event)


def _named(name: str, block: str) -> str:
    return name if block == STUDENT else f"{name}/{block}"
