"""Small charts as inline SVG, coloured by the page: bars, pairs of bars, curves, scales."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeGuard

from pbkd.report.markup import Markup, element, join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.report.card import Figure

__all__ = ["bar", "curves", "pair", "picture"]

_MOST_POINTS = 200
# Sizes in pixels; all are narrower than a phone.
_BAR = (120, 12)
_PAIR, _PAIR_LABEL, _PAIR_BAR = (300, 52), 58, 150
_CURVES, _CURVES_LEFT, _CURVES_TOP, _CURVES_BOTTOM = (280, 120), 56, 22, 98


def picture(size: tuple[float, float], title: str, *children: object, class_: str) -> Markup:
    """Return an SVG of a size in pixels, which shrinks with its column; `title` is its label."""
    width, height = size
    return element(
        "svg",
        element("title", title),
        *children,
        class_=class_,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
    )


def bar(value: float, most: float, title: str) -> Markup:
    """Return a bar of `value`, full at `most`."""
    width, height = _BAR
    return picture(
        _BAR,
        title,
        _rect("lane", 0, 0, width, height),
        _rect("bar", 0, 0, width * _share(value, most), height),
        class_="small",
    )


def pair(figure: Figure) -> Markup:
    """Return the teacher's bar above the student's; a missing figure has no bar."""
    most = max((number for number in figure.numbers if number is not None), default=0.0)
    rows: list[Markup] = []
    roles = zip(("teacher", "student"), figure.numbers, figure.written, strict=True)
    for row, (role, number, written) in enumerate(roles):
        y = 4 + 24 * row
        width = _PAIR_BAR * _share(number or 0.0, most)
        rows += [
            _text("label", 0, y + 14, role),
            _rect(f"bar {role}", _PAIR_LABEL, y, width, 18),
            _text("value", _PAIR_LABEL + width + 6, y + 14, written),
        ]
    spoken = ", ".join(filter(None, figure.written))
    return picture(_PAIR, f"{figure.name}: {spoken}", *rows, class_="pair")


def curves(name: str, series: Mapping[str, Sequence[float | None]], unit: str) -> Markup:
    """Return curves over epochs, one after another, on an axis from zero to the largest value.

    Long curves are thinned; the last point stays. A value that has no place on the axis (None, NaN,
    an infinity, a negative number) leaves a gap, and a sentence below names its epoch.

    Args:
        name: The subject, for the label.
        series: The values of each epoch, by legend text.
        unit: The name of the horizontal axis.
    """
    width, _ = _CURVES
    drawn = {label: [v for v in values if _has_place(v)] for label, values in series.items()}
    most = max((value for values in drawn.values() for value in values), default=0.0)
    count = sum(map(len, series.values()))
    step = (width - _CURVES_LEFT - 10) / max(count - 1, 1)
    parts: list[Markup] = []
    begin, legend = 0, float(_CURVES_LEFT)
    for index, (label, values) in enumerate(series.items()):
        if values:
            points = _points(values, begin, step, most)
            parts += [*_curve(points, index), _text(f"key k{index}", legend, 12, label)]
            begin, legend = begin + len(values), legend + 7 * len(label) + 14
    spoken = "; ".join(
        f"{label}: {values[0]:.4g} to {values[-1]:.4g}" for label, values in drawn.items() if values
    )
    chart = picture(
        _CURVES,
        f"{name}: {spoken}",
        *_frame(width, most, count, unit),
        *parts,
        class_="curves",
    )
    gaps = [said for label, values in series.items() if (said := _gaps(label, values))]
    return join(chart, *(element("p", said, class_="why") for said in gaps))


def _has_place(value: float | None) -> TypeGuard[float]:
    return value is not None and 0 <= value < math.inf


def _gaps(label: str, values: Sequence[float | None]) -> str:
    """Name the first value that is not drawn, and how many there are; empty if there is none."""
    missing = [(epoch, v) for epoch, v in enumerate(values, 1) if not _has_place(v)]
    if not missing:
        return ""
    epoch, value = missing[0]
    first = "not recorded" if value is None else f"{value:g}"
    others = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"Not drawn: {label} of epoch {epoch}, which is {first}{others}."


def _points(
    values: Sequence[float | None], begin: int, step: float, most: float
) -> list[list[tuple[float, float]]]:
    """Return the points of each uninterrupted part of a curve."""
    thinned = math.ceil(len(values) / _MOST_POINTS)
    kept = sorted({*range(0, len(values), thinned), len(values) - 1})
    height = _CURVES_BOTTOM - _CURVES_TOP
    lines: list[list[tuple[float, float]]] = [[]]
    for index in kept:
        value = values[index]
        if _has_place(value):
            y = _CURVES_BOTTOM - height * _share(value, most)
            lines[-1].append((_CURVES_LEFT + step * (begin + index), y))
        else:
            lines.append([])
    return [line for line in lines if line]


def _curve(lines: Sequence[Sequence[tuple[float, float]]], index: int) -> list[Markup]:
    """Return a line through the points of each part, and a dot on its last."""
    parts: list[Markup] = []
    for points in lines:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        x, y = points[-1]
        dot = element("circle", class_=f"dot k{index}", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3)
        parts += [element("polyline", class_=f"line k{index}", points=line), dot]
    return parts


def _frame(width: float, most: float, count: int, unit: str) -> list[Markup]:
    top, bottom = _CURVES_TOP, _CURVES_BOTTOM
    epochs = f"{unit} 1 to {count}" if count > 1 else f"{unit} {count}"
    return [
        element("path", class_="grid", d=f"M{_CURVES_LEFT} {top}H{width - 6}"),
        element("path", class_="grid", d=f"M{_CURVES_LEFT} {bottom}H{width - 6}"),
        _text("tick end", _CURVES_LEFT - 6, top + 4, f"{most:.3g}"),
        _text("tick end", _CURVES_LEFT - 6, bottom + 4, "0"),
        _text("tick", _CURVES_LEFT, bottom + 17, epochs),
    ]


def _share(value: float, most: float) -> float:
    return min(max(value / most, 0.0), 1.0) if most > 0 else 0.0


def _rect(class_: str, x: float, y: float, width: float, height: float) -> Markup:
    return element(
        "rect", class_=class_, x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=height, rx=2
    )


def _text(class_: str, x: float, y: float, content: str) -> Markup:
    return element("text", content, class_=class_, x=f"{x:.1f}", y=f"{y:.1f}")
