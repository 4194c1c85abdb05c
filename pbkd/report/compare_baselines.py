"""Columns of comparisons for baselines: the strongest one of each run, and in CSV each one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pbkd.report.columns import Column, Value, interval_ends, seconds
from pbkd.report.rivals import lead_text
from pbkd.report.scores import points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbkd.core.baselines import BaselineResult
    from pbkd.core.intervals import Interval
    from pbkd.runs.finished import Finished

__all__ = ["baseline_columns"]


def baseline_columns(runs: Sequence[Finished]) -> Iterator[Column]:
    """Yield the columns of the strongest baseline, and for CSV the figures of each one.

    There are none if no run has a baseline.
    """
    if not any(run.baselines for run in runs):
        return
    yield Column(None, "strongest rival", str, _strongest(_name_and_score))
    yield Column(None, "student ahead by", str, _strongest(lead_text))
    yield Column("rival", None, str, _strongest(lambda rival: rival.name))
    for name, head, value in _FIGURES:
        yield Column(f"rival_{name}", head, seconds, _strongest(value))
    for batch in _batches(runs):
        name = f"rival_latency_ratio_batch_{batch}"
        yield Column(name, None, str, _strongest(partial(_latency_ratio, batch)))
    yield Column("ahead_of_rival", None, str, _strongest(lambda rival: rival.difference))
    yield from interval_ends("ahead_of_rival", _interval)
    for rival in dict.fromkeys(name for run in runs for name in run.baselines):
        prefix = rival.replace(" at equal ", "_")
        for name, _, value in _FIGURES:
            yield Column(f"{prefix}_{name}", None, str, partial(_of_rival, rival, value))


_FIGURES: tuple[tuple[str, str | None, Callable[[BaselineResult], Value]], ...] = (
    ("score", None, lambda row: row.score),
    ("macs", None, lambda row: row.macs),
    ("seconds", "rival's s", lambda row: row.seconds),
    ("cpu_seconds", None, lambda row: row.cpu_seconds),
)


def _strongest(value: Callable[[BaselineResult], Value]) -> Callable[[Finished], Value]:
    return lambda run: None if run.strongest is None else value(run.strongest)


def _of_rival(name: str, value: Callable[[BaselineResult], Value], run: Finished) -> Value:
    row = run.baselines.get(name)
    return None if row is None else value(row)


def _name_and_score(rival: BaselineResult) -> str:
    return f"{rival.name} {points(rival.score)}"


def _interval(run: Finished) -> Interval | None:
    return None if run.strongest is None else run.strongest.interval


def _batches(runs: Sequence[Finished]) -> list[int]:
    return sorted(
        {n.batch for run in runs for row in run.baselines.values() for n in row.latencies}
    )


def _latency_ratio(batch: int, rival: BaselineResult) -> float | None:
    """Return the rival's median latency over the student's, measured in turns."""
    pairs = zip(rival.latencies, rival.student_latencies, strict=True)
    return next(
        (one.median_seconds / other.median_seconds for one, other in pairs if one.batch == batch),
        None,
    )
