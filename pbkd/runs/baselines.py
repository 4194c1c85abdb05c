"""The baselines of a finished run: `baselines.json` in its folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pbkd.core.baselines import BaselineResult
from pbkd.core.files import write_json
from pbkd.core.plausible_numbers import is_plausible
from pbkd.core.records import read_record
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["METHODS", "add_baseline", "read_baselines"]

METHODS = ("same-start", "pruning", "distillation", "scratch", "ready")
"""Names of the methods, in display order."""
_FILE = "baselines.json"


def add_baseline(folder: Path, baseline: BaselineResult) -> dict[str, BaselineResult]:
    """Add a baseline to a run folder, replacing an earlier one of the same name.

    Returns:
        All baselines of the folder, by name.
    """
    known = {**read_baselines(folder), baseline.name: baseline}
    ordered = sorted(known.values(), key=lambda row: (METHODS.index(row.method), row.name))
    write_json(folder / _FILE, asdict(_Baselines(tuple(ordered))))
    return {row.name: row for row in ordered}


def read_baselines(folder: Path) -> dict[str, BaselineResult]:
    """Read the baselines of a run folder, which may be untrusted.

    Returns:
        The baselines by name; none if there is no file.

    Raises:
        RunFolderError: The file is damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    record: _Baselines = read_record(path, _Baselines, "a list of baselines")
    if not all(map(_is_sound, record.baselines)):
        raise RunFolderError(f"'{path}' is not a list of baselines of this version of pbkd.")
    return {baseline.name: baseline for baseline in record.baselines}


@dataclass(frozen=True)
class _Baselines:
    """The content of `baselines.json`."""

    baselines: tuple[BaselineResult, ...]


def _is_sound(baseline: BaselineResult) -> bool:
    """Whether the figures are in their ranges, and fit each other."""
    return (
        baseline.method in METHODS
        and bool(baseline.best)
        and is_plausible("baseline", baseline)
        and all(training.change.images > 0 for training in baseline.trainings)
        and len(baseline.latencies) == len(baseline.student_latencies)
    )
