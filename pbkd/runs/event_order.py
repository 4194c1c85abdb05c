"""The order of events of several processes, whose clocks may differ or jump."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pbkd.core.events import Event

__all__ = ["in_order"]


def in_order(files: Iterable[Sequence[Event]]) -> list[Event]:
    """Merge the events of several files by time.

    The events of one file stay in their order, even if the clock went back in between: an event
    counts as no earlier than the ones before it.

    Args:
        files: The events of each file, as recorded.
    """
    timed = [
        (latest, event)
        for events in files
        for latest, event in zip(
            accumulate((event.time for event in events), max), events, strict=True
        )
    ]
    return [event for _, event in sorted(timed, key=lambda pair: pair[0])]
