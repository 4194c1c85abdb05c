"""The contents of a finished run's folder that a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pbkd.core.files import open_file
from pbkd.errors import PbkdError
from pbkd.runs.checksums import check_files
from pbkd.runs.configuration import CONFIG
from pbkd.runs.disagreements import read_changes
from pbkd.runs.events import event_faults, read_events
from pbkd.runs.finished import read_finished
from pbkd.runs.plan_files import read_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pbkd.core.events import Event
    from pbkd.runs.disagreements import Changes
    from pbkd.runs.finished import Finished
    from pbkd.runs.plan_files import RecordedPlan


__all__ = ["ReportData", "read_report_data"]

_MOST_BYTES = 2**16
Content = TypeVar("Content")


@dataclass(frozen=True)
class ReportData:
    """A finished run.

    Attributes:
        run: The result and the baselines.
        plan: The plan; None if it is damaged.
        events: The recorded events, in order of time.
        config: The configuration as YAML; None if it is damaged.
        changes: The changed predictions; None if they are damaged.
        faults: What is damaged or missing, a sentence each.
    """

    run: Finished
    plan: RecordedPlan | None
    events: list[Event]
    config: str | None
    changes: Changes | None = None
    faults: tuple[str, ...] = ()


def read_report_data(folder: Path) -> ReportData:
    """Read a run folder; of what is damaged or missing beside the result, the report has none.

    Raises:
        RunFolderError: No run has finished there, or its result is damaged.
    """
    finished = read_finished(folder)
    faults: list[str] = []
    return ReportData(
        finished,
        _attempt(faults, read_plan, folder),
        _attempt(faults, _events, folder, finished, faults) or [],
        _attempt(faults, _config, folder),
        _attempt(faults, read_changes, folder),
        tuple(faults),
    )


def _attempt(faults: list[str], read: Callable[..., Content], *args: Any) -> Content | None:
    try:
        return read(*args)
    except PbkdError as error:
        faults.append(str(error))
        return None


def _events(folder: Path, finished: Finished, faults: list[str]) -> list[Event]:
    faults.extend(event_faults(folder, finished.result.events))
    return read_events(folder)


def _config(folder: Path) -> str:
    """Return the configuration; only the beginning of an oversized file."""
    check_files(folder, [CONFIG])
    with open_file(folder / CONFIG) as file:
        return file.read(_MOST_BYTES).decode(errors="replace")
