"""The run folder: where everything about a run is written, each file whole or not at all."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from pbkd.core.process import background_thread
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pbkd.core.events import Event


__all__ = ["EventLog", "finite", "follow_events", "new_events", "plain", "read_events", "record"]


def record(folder: Path, writer: str, event: str, /, **facts: Any) -> None:
    """Append one event, as a line of JSON, to the writer's own file in `folder/events`."""
    path = folder / "events" / f"{writer}.jsonl"
    line = json.dumps({"event": event, "time": time.time(), **facts})
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("ab+") as file:
            # A line that was torn by a crash must not swallow this one.
            start = b"\n" if file.tell() and _last_byte(file) != b"\n" else b""
            file.write(start + line.encode() + b"\n")
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error


def read_events(folder: Path) -> list[Event]:
    """Return every event recorded so far, in the order of time; torn lines are left out."""
    events: list[Event] = []
    for path in _event_files(folder):
        events.extend(filter(None, map(_parsed, path.read_bytes().splitlines())))
    return sorted(events, key=_time)


def _event_files(folder: Path) -> list[Path]:
    return sorted((folder / "events").glob("*.jsonl"))


def _time(event: Event) -> float:
    when = event.get("time")
    return when if isinstance(when, (int, float)) else 0.0


def _parsed(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (RecursionError, ValueError):
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


@contextmanager
def follow_events(
    folder: Path, seen: Callable[[Event], None], *, own: str | None = None
) -> Iterator[None]:
    """Call `seen` with each event that any writer records during the context, from a thread.

    Those of the writer `own` are left out: whoever follows has told of them itself. The first error
    that `seen` raises is raised again when the context ends.
    """
    offsets = {path: path.read_bytes().rfind(b"\n") + 1 for path in _event_files(folder)}
    errors: list[BaseException] = []

    def read() -> None:
        for event in new_events(folder, offsets, own=own):
            seen(event)

    def watch(stop: threading.Event) -> None:
        try:
            while not stop.wait(0.1):
                read()
            read()
        except BaseException as error:
            errors.append(error)

    with background_thread(watch, "pbkd-events"):
        yield
    if errors:
        raise errors[0]


def new_events(folder: Path, offsets: dict[Path, int], *, own: str | None = None) -> list[Event]:
    """Return the events after `offsets`, in the order of time, and move these on.

    `offsets` says how many bytes of each writer's file have been read; none of a file that is not
    in it. The file of the writer `own` is left alone.
    """
    events: list[Event] = []
    for path in _event_files(folder):
        if path.stem == own:
            continue
        with path.open("rb") as file:
            file.seek(offsets.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the rest is still to come, perhaps before the next read of this loop
                offsets[path] = offsets.get(path, 0) + len(line)
                if (event := _parsed(line)) is not None:
                    events.append(event)
    return sorted(events, key=_time)


class EventLog:
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
