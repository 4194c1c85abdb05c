"""Sections of a report that plugins write."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pbkd.errors import PLUGIN_FAILURES
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.protocols import ReportedPlan, ReportedRun
from pbkd.report.html import Section
from pbkd.report.markup import Markup, element
from pbkd.report.markup_check import markup_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.protocols import ReportSection
    from pbkd.report.report_data import ReportData
    from pbkd.runs.plan_files import RecordedPlan


__all__ = ["DEFAULT_SECTIONS", "render_sections"]

DEFAULT_SECTIONS = ("classes",)
"""The sections of plugins that every report has."""


def render_sections(
    sections: Sequence[ReportSection], data: ReportData
) -> tuple[list[Section], list[str]]:
    """Let plugins write their sections.

    Args:
        sections: The sections.
        data: The run.

    Returns:
        The sections that have content; and what was wrong with the others, a sentence each.
    """
    written, faults = [], []
    for section in sections:
        try:
            content = section.render(_reported(data))
        except PLUGIN_FAILURES as error:
            failure = describe_failure("section", section, "render", error)
            faults.append(f"{failure}: the report is without it.")
            continue
        if fault := _fault(content):
            who = describe_strategy("section", section)
            faults.append(f"{who} returns {fault} from render: the report is without it.")
        elif content is not None:
            html = content if isinstance(content, Markup) else element("p", content)
            key = section.name if section.name in DEFAULT_SECTIONS else f"section-{section.name}"
            written.append(Section(key, section.title, html))
    return written, faults


def _reported(data: ReportData) -> ReportedRun:
    """Copy what a section may read."""
    return ReportedRun(
        name=data.run.name,
        result=copy.deepcopy(data.run.result),
        baselines=copy.deepcopy(data.run.baselines),
        events=tuple(data.events),
        configuration=data.config,
        plan=None if data.plan is None else _plan(data.plan),
    )


def _plan(plan: RecordedPlan) -> ReportedPlan:
    return ReportedPlan(
        costs=plan.table.costs,
        workers=plan.workers,
        schedule=plan.schedule,
        workload=plan.table.workload,
        scheduler=plan.scheduler,
        why=plan.why,
    )


def _fault(content: Any) -> str | None:
    """Return what cannot be shown about a section's content; None if it can."""
    if not (content is None or isinstance(content, str)):
        return f"{type(content).__name__}, not text"
    return markup_fault(content) if isinstance(content, Markup) else None
