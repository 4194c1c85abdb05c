"""The points of a curve as a table, and as CSV in full precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.curves import READY, STUDENT
from pbkd.report.csv_text import csv_text
from pbkd.report.scores import interval_text, score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.curves import CurvePoint, CurveResult


__all__ = ["curve_csv", "curve_notes", "curve_table"]

_NOT_MEASURED = "not measured"


def curve_table(curve: CurveResult) -> tuple[list[str], list[list[str]]]:
    """Return the heads and a row per network: the teacher, the students, ready networks."""
    batches, domains = _batches(curve), _domains(curve)
    heads = ["point", curve.score_name, "change in points", "MACs", "parameters", "bytes"]
    heads += [f"ms at {batch}" for batch in batches]
    heads += [f"joules, {domain}" for domain in domains]
    return [*heads, ""], [_row(curve, point, batches, domains) for point in curve.points]


def curve_notes(curve: CurveResult) -> list[str]:
    """Return what the table's figures are, wishes that are not kept, and remarks."""
    wishes = [
        f"{point.name}: {wish.sentence}"
        for point in curve.students
        for wish in point.wishes
        if not wish.is_met
    ]
    reasons = dict.fromkeys(point.joules_reason for point in curve.students)
    return [
        f"In brackets: 95 % intervals on {curve.test_images:,} test images; that of a change is for"
        " the same images.",
        *wishes,
        *filter(None, reasons),
        *curve.notes,
    ]


def curve_csv(curve: CurveResult) -> str:
    """Return the points as CSV: empty if not measured."""
    batches, domains = _batches(curve), _domains(curve)
    heads = ["point", "kind", "score", "score_low", "score_high", "points_lost"]
    heads += ["points_lost_low", "points_lost_high", "macs", "parameters", "bytes"]
    heads += [f"ms_batch_{batch}" for batch in batches]
    heads += [*(f"joules_{domain}" for domain in domains), "dominated_by"]
    return csv_text([heads, *(_values(point, batches, domains) for point in curve.points)])


def _batches(curve: CurveResult) -> list[int]:
    return sorted({batch for point in curve.points for batch in point.milliseconds})


def _domains(curve: CurveResult) -> list[str]:
    return [*dict.fromkeys(domain for point in curve.points for domain in point.joules or {})]


def _row(
    curve: CurveResult, point: CurvePoint, batches: Sequence[int], domains: Sequence[str]
) -> list[str]:
    network, times = point.network, point.milliseconds
    size = _NOT_MEASURED if network.weight_bytes is None else f"{network.weight_bytes:,}"
    is_exact = point.score is not None
    return [
        f"{point.name} (ready)" if point.kind == READY else point.name,
        score_text(point.score, curve.test_images) if is_exact else "",
        _change(point),
        f"{network.macs:,}",
        f"{network.parameters:,}",
        size,
        *(f"{times[batch]:.2f}" if batch in times else _NOT_MEASURED for batch in batches),
        *(_joules(point, domain) for domain in domains),
        f"dominated by {point.dominated_by}" if point.dominated_by else "",
    ]


def _change(point: CurvePoint) -> str:
    if point.change is None:
        return ""
    interval = interval_text(point.change.interval)
    return f"{100 * point.change.difference:+.2f} ({interval})"


def _joules(point: CurvePoint, domain: str) -> str:
    if point.kind != STUDENT:
        return ""
    joules = (point.joules or {}).get(domain)
    return _NOT_MEASURED if joules is None else f"{joules:.1f}"


def _values(point: CurvePoint, batches: Sequence[int], domains: Sequence[str]) -> list[object]:
    network, change = point.network, point.change
    low, high = network.interval or (None, None)
    lost: list[float | None] = [None, None, None]
    if change is not None:
        lost = [-100 * change.difference, *(-100 * end for end in reversed(change.interval))]
    return [
        point.name,
        point.kind,
        point.score,
        low,
        high,
        *lost,
        network.macs,
        network.parameters,
        network.weight_bytes,
        *(point.milliseconds.get(batch) for batch in batches),
        *((point.joules or {}).get(domain) for domain in domains),
        point.dominated_by,
    ]
