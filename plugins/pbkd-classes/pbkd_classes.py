"""The test accuracy of teacher and student by class, in the report of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.report import Markup, element, join, score_text, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd import RunResult
    from pbkd.protocols import ReportedRun, ReportSection
    from pbkd.report import ClassScore

PBKD_CONTRACT = 2

_HEADS = ("class", "images", "teacher", "student", "change in points")


@dataclass(frozen=True)
class ClassesSection:
    """Show the accuracy by class, the largest loss first.

    Args:
        most_rows: Classes that are shown at once; if there are more, all others are folded away.
    """

    name: ClassVar[str] = "classes"
    title: ClassVar[str] = "Accuracy by class"
    most_rows: int = 20

    def render(self, run: ReportedRun) -> Markup:
        """Return one or two tables, or why there are none."""
        return class_tables(run.result, self.most_rows)


def class_tables(result: RunResult, most_rows: int = 20) -> Markup:
    """Return the classes from the largest loss on; if there are many, all others folded away."""
    classes = result.classes
    if not classes:
        why = result.accuracy_reason or "the version of pbkd that made this run recorded no classes"
        return element("p", f"Not measured: {why}.", class_="why")
    worst = sorted(classes, key=lambda s: (_change(s), _share(s.student_correct, s), s.label))
    if len(classes) <= most_rows:
        said = "The largest loss first. In brackets: 95 % intervals."
        return join(element("p", said, class_="why"), table(_HEADS, _rows(worst)))
    said = (
        f"The {most_rows} largest losses of {len(classes):,} classes. In brackets: 95 % intervals."
    )
    summary = element("summary", f"All {len(classes):,} classes, in their order")
    return join(
        element("p", said, class_="why"),
        table(_HEADS, _rows(worst[:most_rows])),
        element("details", summary, table(_HEADS, _rows(classes))),
    )


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


@hookimpl
def register_sections() -> list[type[ReportSection]]:
    """Register the section `classes`."""
    return [ClassesSection]
