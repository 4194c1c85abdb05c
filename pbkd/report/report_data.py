"""The contents of a finished run's folder that a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.runs.checksums import check_files
from pbkd.runs.configuration import CONFIG
from pbkd.runs.disagreements import read_changes
from pbkd.runs.events import read_events
from pbkd.runs.finished import read_finished
from pbkd.runs.plan_files import read_plan

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.events import Event
    from pbkd.runs.disagreements import Changes
    from pbkd.runs.finished import Finished
    from pbkd.runs.plan_files import RecordedPlan


__all__ = ["ReportData", "read_report_data"]

_MOST_BYTES = 2**16


@dataclass(frozen=True)
class ReportData:
    """A finished run.

    Attributes:
        run: The result and the baselines.
        plan: The plan; None if the folder has none.
        events: The recorded events, in order of time.
        config: The configuration as YAML; None if the folder has none.
        changes: The changed predictions; None if the folder has none.
    """

    run: Finished
    plan: RecordedPlan | None
    events: list[Event]
    config: str | None
    changes: Changes | None = None


def read_report_data(folder: Path) -> ReportData:
    """Read a run folder.

    Raises:
        RunFolderError: No run has finished there, or a file is damaged.
        ConfigError: The costs of the plan are damaged.
    """
    finished = read_finished(folder)
    check_files(folder, [CONFIG])
    return ReportData(
        finished,
        read_plan(folder),
        read_events(folder),
        _config(folder / CONFIG),
        read_changes(folder),
    )


def _config(path: Path) -> str | None:
    """Return the configuration; only the beginning of an oversized file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode(errors="replace")
