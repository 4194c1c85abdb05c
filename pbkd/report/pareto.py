"""A plot of score against cost, with the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.report.charts import picture
from pbkd.report.markup import Markup, element
from pbkd.report.numbers import short, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.intervals import Interval

__all__ = ["Point", "front", "pareto"]

_SIZE, _LEFT, _RIGHT, _TOP, _BOTTOM = (330, 270), 58, 12, 26, 224


@dataclass(frozen=True)
class Point:
    """A network in the plot.

    Attributes:
        mark: The text beside the point.
        name: The tooltip.
        cost: The horizontal coordinate.
        score: The vertical coordinate, a share.
        teacher: Whether it is a teacher, which is never on the front.
        ready: Whether it needed no training.
        interval: The 95 % interval of the score, drawn as a line; None for none.
    """

    mark: str
    name: str
    cost: float
    score: float
    teacher: bool = False
    ready: bool = False
    interval: Interval | None = None

    @property
    def ends(self) -> Interval:
        """The interval, or the score twice."""
        return self.interval or (self.score, self.score)


@dataclass(frozen=True)
class _Scale:
    """Converts figures to pixels."""

    most_cost: float
    scores: tuple[float, float]

    def x(self, cost: float) -> float:
        return _LEFT + (_SIZE[0] - _LEFT - _RIGHT) * cost / self.most_cost

    def y(self, score: float) -> float:
        least, most = self.scores
        return _BOTTOM - (_BOTTOM - _TOP) * (score - least) / (most - least)


def front(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto-optimal students, sorted by cost."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.score)):
        if not point.teacher and (not best or point.score > best[-1].score):
            best.append(point)
    return best


def pareto(points: Sequence[Point], cost: str, score: str) -> Markup:
    """Return the plot of at least one point; `cost` and `score` name the axes, with units."""
    most = max(point.cost for point in points) or 1.0
    scores = [end for point in points for end in point.ends]
    room = max(0.1 * (max(scores) - min(scores)), 0.002)
    scale = _Scale(1.08 * most, (min(scores) - room, max(scores) + room))
    return picture(
        _SIZE,
        f"{score} against {cost}, {len(points)} networks",
        *_axes(scale, cost, score),
        _line(scale, front(points)),
        *(_whisker(scale, point) for point in points if point.interval),
        *(_dot(scale, point) for point in points),
        class_="pareto",
    )


def _axes(scale: _Scale, cost: str, score: str) -> list[Markup]:
    right = _SIZE[0] - _RIGHT
    parts = [
        element("text", f"{score}, %", class_="label", x=4, y=14),
        element("text", cost, class_="label end", x=right, y=_SIZE[1] - 6),
    ]
    least, most = scale.scores
    for value in ticks(100 * least, 100 * most):
        y = f"{scale.y(value / 100):.1f}"
        parts.append(element("path", class_="grid", d=f"M{_LEFT} {y}H{right}"))
        parts.append(element("text", f"{value:.5g}", class_="tick end", x=_LEFT - 6, y=y, dy=4))
    for value in ticks(0, scale.most_cost, 4):
        x = f"{scale.x(value):.1f}"
        parts.append(element("path", class_="grid", d=f"M{x} {_TOP}V{_BOTTOM + 4}"))
        parts.append(element("text", short(value), class_="tick mid", x=x, y=_BOTTOM + 18))
    return parts


def _line(scale: _Scale, best: Sequence[Point]) -> Markup:
    """Return steps from point to point: the best score at each cost."""
    path = ""
    for point in best:
        x, y = f"{scale.x(point.cost):.1f}", f"{scale.y(point.score):.1f}"
        path += f"H{x}V{y}" if path else f"M{x} {y}"
    return element("path", class_="front", d=path or "M0 0")


def _whisker(scale: _Scale, point: Point) -> Markup:
    x, (low, high) = scale.x(point.cost), point.ends
    line = f"M{x:.1f} {scale.y(low):.1f}V{scale.y(high):.1f}"
    return element("path", class_="whisker", d=line)


def _dot(scale: _Scale, point: Point) -> Markup:
    x, y = scale.x(point.cost), scale.y(point.score)
    said = f"{point.name}: {100 * point.score:.2f} % at {short(point.cost)}"
    kind = "dot teacher" if point.teacher else "dot k1" if point.ready else "dot"
    return element(
        "g",
        element("title", said),
        element("circle", class_=kind, cx=f"{x:.1f}", cy=f"{y:.1f}", r=5),
        element("text", point.mark, class_="mark", x=f"{x + 7:.1f}", y=f"{y - 5:.1f}"),
    )
