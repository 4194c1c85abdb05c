"""The event files of a run folder: recorded by every process, read and followed by any."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbkd.core.event_json import from_json, to_json
from pbkd.core.files import flush_to_disk, open_file, read_file
from pbkd.core.json_lines import MOST_BYTES, append_line, is_damaged, parse_line, read_lines
from pbkd.core.process import background_thread
from pbkd.runs.event_order import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pbkd.core.events import Emit, Event


__all__ = [
    "EventLog",
    "count_events",
    "event_faults",
    "flush_events",
    "follow_events",
    "new_events",
    "read_events",
    "record_event",
]

_POLL_SECONDS = 0.1


def record_event(folder: Path, writer: str, event: Event) -> None:
    """Append an event, as a line of JSON, to the file of `writer` in `folder/events`.

    Args:
        folder: The run folder.
        writer: The recording process: `host`, `launcher` or `rankN`.
        event: The event.

    Raises:
        RunFolderError: The file cannot be written.
    """
    append_line(folder / "events" / f"{writer}.jsonl", to_json(event))


def flush_events(folder: Path) -> None:
    """Flush all events to disk; each alone is not, so that recording one takes no time."""
    for path in (folder, folder / "events", *_event_files(folder)):
        flush_to_disk(path)


def read_events(folder: Path) -> list[Event]:
    """Read every event recorded so far, in order of time.

    Lines that are incomplete, damaged or of an unknown kind are skipped.
    """
    return in_order(_file_events(path) for path in _event_files(folder))


def _file_events(path: Path) -> list[Event]:
    events = map(from_json, read_lines(path))
    return [event for event in events if event is not None]


def count_events(folder: Path) -> dict[str, int]:
    """Count the undamaged events in each file of a run folder, by its name."""
    return {path.name: len(read_lines(path)) for path in _event_files(folder)}


def event_faults(folder: Path, recorded: Mapping[str, int]) -> list[str]:
    """Describe the files whose events are damaged or missing.

    A line that a crash left incomplete is neither.

    Args:
        folder: The run folder.
        recorded: The least number of events of each file, by its name, as `count_events` gives
            them.

    Returns:
        A sentence for each such file.
    """
    faults = []
    for name in sorted({*recorded, *(path.name for path in _event_files(folder))}):
        path = folder / "events" / name
        lines = read_file(path, MOST_BYTES).split(b"\n") if path.exists() else []
        damaged = sum(map(is_damaged, lines[:-1]))
        whole = sum(parse_line(line) is not None for line in lines)
        if lost := max(damaged, recorded.get(name, 0) - whole):
            faults.append(f"{lost} event(s) of '{path}' are damaged or missing.")
    return faults


def _event_files(folder: Path) -> list[Path]:
    return sorted((folder / "events").glob("*.jsonl"))


@contextmanager
def follow_events(folder: Path, emit: Emit, *, skip: str | None = None) -> Iterator[None]:
    """Call `emit`, from a thread, with each event that is recorded during the context.

    Args:
        folder: The run folder.
        emit: The function to call. The first error that it raises is raised again at the end of
            the context.
        skip: A writer whose events are left out, because they are emitted directly.
    """
    offsets = {path: read_file(path, MOST_BYTES).rfind(b"\n") + 1 for path in _event_files(folder)}
    errors: list[BaseException] = []

    def read() -> None:
        for event in new_events(folder, offsets, skip=skip):
            emit(event)

    def watch(stop: threading.Event) -> None:
        try:
            while not stop.wait(_POLL_SECONDS):
                read()
            read()
        except BaseException as error:
            errors.append(error)

    with background_thread(watch, "pbkd-events"):
        yield
    if errors:
        raise errors[0]


def new_events(folder: Path, offsets: dict[Path, int], *, skip: str | None = None) -> list[Event]:
    """Read the events after `offsets`, in order of time, and advance these.

    Args:
        folder: The run folder.
        offsets: How many bytes of each event file have been read (none of a file that is missing
            here). Changed in place.
        skip: A writer whose file is left out.
    """
    files: list[list[Event]] = []
    for path in _event_files(folder):
        if path.stem == skip:
            continue
        events: list[Event] = []
        files.append(events)
        with open_file(path) as file:
            file.seek(offsets.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the rest is still to come, perhaps before the next read of this loop
                offsets[path] = offsets.get(path, 0) + len(line)
                if (event := from_json(parse_line(line))) is not None:
                    events.append(event)
    return in_order(files)


class EventLog:
    """Records the host's events in the run folder, and passes all events on, one at a time."""

    def __init__(self, listener: Emit) -> None:
        """Create a log without a folder; `listener` gets every event, from any thread."""
        self._listeners = [listener]
        self._folder: Path | None = None
        self._early: list[Event] = []
        self._lock = threading.Lock()

    def listen(self, listener: Emit) -> None:
        """Pass every event from now on to `listener`, too."""
        with self._lock:
            self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Record an event of the host, and pass it on."""
        with self._lock:
            if self._folder is None:
                self._early.append(event)
            else:
                record_event(self._folder, "host", event)
            self._pass_on(event)

    def forward(self, event: Event) -> None:
        """Pass on an event that is recorded already, or never recorded."""
        with self._lock:
            self._pass_on(event)

    def record_in(self, folder: Path) -> None:
        """Record in `folder` from now on, starting with the events emitted before."""
        with self._lock:
            self._folder = folder
            for event in self._early:
                record_event(folder, "host", event)

    def _pass_on(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
