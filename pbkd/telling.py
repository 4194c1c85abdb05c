"""What a run tells of itself: to whoever listens, and in its folder, for whoever looks there."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from pbkd.journal import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pbkd.journal import Event

__all__ = ["Telling", "finite", "plain"]


class Telling:
    """Passes on a run's events, one at a time, whichever threads they come from.

    An event without a time is the host's own: it gets the time, and is recorded in the run's
    folder as well. Those that workers recorded have one.
    """

    def __init__(self, listener: Callable[[Event], None]) -> None:
        """Tell `listener`; there is no folder yet."""
        self._listener = listener
        self._folder: Path | None = None
        self._early: list[Event] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Tell of one event."""
        with self._lock:
            if "time" not in event:
                event = {"event": event["event"], "time": time.time(), **event}
                self._keep(event)
            self._listener(event)

    def record_in(self, folder: Path) -> None:
        """Record in `folder` from now on, and first what was told so far."""
        with self._lock:
            self._folder = folder
            for event in self._early:
                self._keep(event)

    def _keep(self, event: Event) -> None:
        if self._folder is None:
            self._early.append(event)
            return
        facts = plain(event)
        record(self._folder, "host", facts.pop("event"), **facts)


def plain(event: Event) -> Event:
    """Return an event as plain data, as it is recorded and printed as JSON."""
    facts = {key: value for key, value in event.items() if key != "plan"}
    if "result" in facts:
        facts["result"] = facts["result"].to_dict()
    return facts


def finite(value: Any) -> Any:
    """Return plain data with null for what JSON has no number for: NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
