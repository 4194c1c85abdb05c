"""The test accuracy of teacher and student by class, as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.scores import ClassScore

__all__ = ["classes_csv"]

_CSV_HEADS = ("label", "name", "images", "teacher_correct", "student_correct")


def classes_csv(classes: Sequence[ClassScore]) -> str:
    """Return the classes as CSV, a row per class with test images; unknown names are empty."""
    rows = ([getattr(score, head) for head in _CSV_HEADS] for score in classes)
    return csv_text([_CSV_HEADS, *rows])
