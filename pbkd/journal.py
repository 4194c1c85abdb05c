"""The run folder: where everything about a run is written, each file whole or not at all."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from pbkd.background import beside
from pbkd.errors import PbkdError, RunFolderError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "Event",
    "folder_needed",
    "follow_events",
    "new_events",
    "new_run_folder",
    "read_events",
    "read_json",
    "record",
    "write_file",
    "write_json",
]

Event = dict[str, Any]

_MOST_BYTES = 8 * 2**20


def new_run_folder(out: Path, name: str) -> Path:
    """Create and return `out/NAME-TIME`, and point `out/latest` at it."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = _fresh(out, f"{name.replace(':', '-').replace('/', '-')}-{stamp}")
    except OSError as error:
        raise RunFolderError(f"'{out}' cannot hold a run folder: {error.strerror}.") from error
    _point_latest(folder)
    return folder


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all, even across a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system can: a rename is in the folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented, without NaN or Infinity."""
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; a `RunFolderError` names a file that is missing, damaged or over 8 MiB."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise RunFolderError(f"'{path}' is larger than {_MOST_BYTES:,} bytes.")
        return json.loads(text)
    except FileNotFoundError as error:
        raise RunFolderError(f"there is no '{path}': is this a finished run's folder?") from error
    except (OSError, RecursionError, ValueError) as error:
        raise RunFolderError(f"'{path}' cannot be read: {error}.") from error


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
def folder_needed(folder: Path) -> Iterator[None]:
    """Say so where what fails in the context fails because the run folder is gone."""
    try:
        yield
    except (PbkdError, OSError) as error:
        if (folder / "config.yaml").exists():
            raise
        raise RunFolderError(
            f"'{folder}' was deleted or moved while its run needed it ({error})."
        ) from error


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

    with beside(watch, "pbkd-events"):
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


def _point_latest(folder: Path) -> None:
    """Point `latest` beside a run folder at it, in one step; where links work, and it is one."""
    latest, new = folder.with_name("latest"), folder / ".latest"
    with suppress(OSError):
        if latest.is_symlink() or not latest.exists():
            new.symlink_to(folder.name, target_is_directory=True)
            new.replace(latest)


def _fresh(out: Path, name: str) -> Path:
    for attempt in range(1000):
        folder = out / (f"{name}-{attempt}" if attempt else name)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RunFolderError(f"'{out}' already holds a thousand runs called '{name}'.")
