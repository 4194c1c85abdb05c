"""The HTML page of a curve: the table of its points, and plots of accuracy against cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.curves import READY, STUDENT, TEACHER
from pbkd.report.card import PHASE_HEADS, phase_rows
from pbkd.report.curve_table import curve_notes, curve_table
from pbkd.report.html import Section, page
from pbkd.report.markup import Markup, element, join, table
from pbkd.report.pareto import Point, pareto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbkd.core.curves import CurvePoint, CurveResult


__all__ = ["curve_page"]


def curve_page(curve: CurveResult) -> str:
    """Return the page of a finished curve as HTML text."""
    heads, rows = curve_table(curve)
    phases: list[tuple[object, ...]] = [*phase_rows(curve.phases)]
    notes = element("ul", *(element("li", note) for note in curve_notes(curve)))
    sections = [
        Section("points", "Points", table(tuple(heads), [tuple(row) for row in rows])),
        Section("plots", "Accuracy against cost", _plots(curve)),
        Section("phases", "Time and energy", table(PHASE_HEADS, phases)),
        Section("notes", "Notes", notes),
        Section("made", "Reproduction", element("pre", curve.command)),
    ]
    teacher, students = curve.points[0], curve.students
    about = (
        f"{len(students)} students of {teacher.name}, from {students[0].name} to"
        f" {students[-1].name} of its MACs. Each is a run of its own, in the folder points."
    )
    return page(f"Curve of {teacher.name}", about, sections)


def _plots(curve: CurveResult) -> Markup:
    plots = [_plot(curve, axis, cost) for axis, cost in _costs(curve)]
    said = (
        "The line connects the Pareto-optimal networks; the ring is the teacher; dots without a"
        " name are ready networks. Vertical lines are 95 % intervals."
    )
    return join(element("p", said, class_="why"), element("div", *plots, class_="tiles"))


def _costs(curve: CurveResult) -> Iterator[tuple[str, Callable[[CurvePoint], float | None]]]:
    yield "MACs of an image", lambda point: point.network.macs
    for batch in sorted({batch for point in curve.points for batch in point.milliseconds}):
        yield f"ms for a batch of {batch}", partial(_milliseconds, batch)
    yield "bytes of weights", lambda point: point.network.weight_bytes
    for domain in dict.fromkeys(domain for p in curve.points for domain in p.joules or {}):
        yield f"joules of the phases, {domain}", partial(_joules, domain)


def _milliseconds(batch: int, point: CurvePoint) -> float | None:
    return point.milliseconds.get(batch)


def _joules(domain: str, point: CurvePoint) -> float | None:
    return (point.joules or {}).get(domain)


def _plot(curve: CurveResult, axis: str, cost: Callable[[CurvePoint], float | None]) -> Markup:
    """Return the plot of all networks with both figures."""
    points = [*_drawn(curve.points, cost)]
    caption = element("figcaption", f"{curve.score_name} against {axis}")
    return element("figure", caption, pareto(points, axis, curve.score_name))


def _drawn(
    points: Sequence[CurvePoint], cost: Callable[[CurvePoint], float | None]
) -> Iterator[Point]:
    for point in points:
        spent = cost(point)
        if spent is not None and point.score is not None:
            yield Point(
                point.name if point.kind == STUDENT else "",
                point.name,
                spent,
                point.score,
                teacher=point.kind == TEACHER,
                ready=point.kind == READY,
                interval=point.network.interval,
            )
