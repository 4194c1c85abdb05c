"""The test accuracy of teacher and student by class, as a table for the page and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.csv_text import csv_text
from pbkd.report.markup import Markup, element, join, table
from pbkd.report.scores import score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.results import RunResult
    from pbkd.core.scores import ClassScore

__all__ = ["class_tables", "classes_csv"]

_MOST_ROWS = 20
_HEADS = ("class", "images", "teacher", "student", "change in points")
_CSV_HEADS = ("label", "name", "images", "teacher_correct", "student_correct")


def class_tables(result: RunResult) -> Markup:
    """Return the classes from the largest loss on; if there are many, all others folded away."""
    classes = result.classes
    if not classes:
        why = result.accuracy_reason or "the version of pbkd that made this run recorded no classes"
        return element("p", f"Not measured: {why}.", class_="why")
    worst = sorted(classes, key=lambda s: (_change(s), _share(s.student_correct, s), s.label))
    if len(classes) <= _MOST_ROWS:
        said = "The largest loss first. In brackets: 95 % intervals."
        return join(element("p", said, class_="why"), table(_HEADS, _rows(worst)))
    said = (
        f"The {_MOST_ROWS} largest losses of {len(classes):,} classes. In brackets: 95 % intervals."
    )
    summary = element("summary", f"All {len(classes):,} classes, in their order")
    return join(
        element("p", said, class_="why"),
        table(_HEADS, _rows(worst[:_MOST_ROWS])),
        element("details", summary, table(_HEADS, _rows(classes))),
    )


def classes_csv(classes: Sequence[ClassScore]) -> str:
    """Return the classes as CSV, a row per class with test images; unknown names are empty."""
    rows = ([getattr(score, head) for head in _CSV_HEADS] for score in classes)
    return csv_text([_CSV_HEADS, *rows])


def _rows(classes: Sequence[ClassScore]) -> list[tuple[object, ...]]:
    return [
        (
            str(score.label) if score.name is None else f"{score.name} ({score.label})",
            f"{score.images:,}",
            score_text(_share(score.teacher_correct, score), score.images),
            score_text(_share(score.student_correct, score), score.images),
            f"{100 * _change(score):+.1f}",
        )
        for score in classes
    ]


def _change(score: ClassScore) -> float:
    return _share(score.student_correct - score.teacher_correct, score)


def _share(count: int, score: ClassScore) -> float:
    return count / max(1, score.images)
