"""A run as text, tables and pages. These names are the interface for report sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.core.scores import ClassScore
    from pbkd.report.markup import Markup, element, join, table
    from pbkd.report.scores import score_text

__all__ = ["ClassScore", "Markup", "element", "join", "score_text", "table"]

__getattr__ = lazy_exports(
    __name__,
    {
        "ClassScore": "pbkd.core.scores",
        "Markup": "pbkd.report.markup",
        "element": "pbkd.report.markup",
        "join": "pbkd.report.markup",
        "score_text": "pbkd.report.scores",
        "table": "pbkd.report.markup",
    },
)
