"""Plots of a run's exports: score against bytes and milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.exports import ordered_latencies
from pbkd.report.markup import Markup, element, join
from pbkd.report.pareto import Point, pareto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbkd.core.results import ExportResult

__all__ = ["export_plots"]


def export_plots(exports: Sequence[ExportResult], score: str) -> Markup:
    """Plot the scores against bytes and milliseconds, the exports numbered as in the caption."""
    scored = [one for one in exports if one.score is not None]
    if not scored:
        return Markup()
    costs: list[tuple[str, Callable[[ExportResult], float]]] = [
        ("megabytes of the file", lambda one: one.bytes / 1e6),
        ("milliseconds, one image", lambda one: 1000 * ordered_latencies(one)[0].median_seconds),
    ]
    figures = (
        element("figure", pareto([*_points(scored, cost)], axis, score)) for axis, cost in costs
    )
    names = (f"{number}: {one.network}, {one.format}" for number, one in enumerate(scored, 1))
    caption = element("p", "; ".join(names), class_="why")
    return join(element("div", *figures, class_="tiles"), caption)


def _points(
    exports: Sequence[ExportResult], cost: Callable[[ExportResult], float]
) -> Iterator[Point]:
    for number, one in enumerate(exports, 1):
        name, is_teacher = f"{one.network}, {one.format}", one.network == "teacher"
        yield Point(str(number), name, cost(one), one.score or 0.0, teacher=is_teacher)
