"""The baselines of a finished run: `baselines.json` in its folder."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pbkd.core.baselines import BaselineResult
from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["METHODS", "add_baseline", "read_baselines"]

METHODS = ("same-start", "pruning", "distillation", "scratch", "ready")
"""Names of the methods, in display order."""
_FILE = "baselines.json"
_MOST = 1e18


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
    if not all(map(_is_plausible, record.baselines)):
        raise RunFolderError(f"'{path}' is not a list of baselines of this version of pbkd.")
    return {baseline.name: baseline for baseline in record.baselines}


@dataclass(frozen=True)
class _Baselines:
    """The content of `baselines.json`."""

    baselines: tuple[BaselineResult, ...]


def _is_plausible(baseline: BaselineResult) -> bool:
    """Whether the figures that are used in computations are in their range."""
    shares = [baseline.score, baseline.validation, *_shares(baseline)]
    differences = [baseline.difference, *baseline.interval]
    return (
        baseline.method in METHODS
        and bool(baseline.best)
        and all(0 <= share <= 1 for share in shares)
        and all(-1 <= difference <= 1 for difference in differences)
        and all(0 <= figure <= _MOST for figure in _figures(baseline))
        and len(baseline.latencies) == len(baseline.student_latencies)
    )


def _shares(baseline: BaselineResult) -> Iterator[float]:
    for training in baseline.trainings:
        yield from (training.validation, training.score)


def _figures(baseline: BaselineResult) -> Iterator[float]:
    yield from (baseline.parameters, baseline.macs, baseline.threads, baseline.lr)
    yield from (f for f in (baseline.max_seconds, baseline.max_cpu_seconds) if f is not None)
    for latency in (*baseline.latencies, *baseline.student_latencies):
        yield from (latency.batch - 1, latency.median_seconds, latency.p95_seconds)
    for training in baseline.trainings:
        yield from (training.lr, training.epochs, training.steps)
        yield from (training.seconds, training.cpu_seconds)
        change = training.change
        yield from (change.both_correct, change.lost, change.gained, change.both_wrong)
        yield from (change.images - 1, 0.0 if math.isfinite(change.difference) else -1.0)
