"""Conformance tests of report sections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.scores import ClassScore
from pbkd.core.workload import Workload
from pbkd.planning.cost_files import CostTable
from pbkd.report.plugin_sections import render_sections
from pbkd.report.report_data import ReportData
from pbkd.runs.finished import Finished
from pbkd.runs.plan_files import RecordedPlan
from pbkd.testing.tiny import tiny_costs
from pbkd.testing.tiny_run import tiny_events, tiny_result

if TYPE_CHECKING:
    from pbkd.protocols import ReportSection

__all__ = ["check_section"]


def check_section(section: ReportSection) -> None:
    """Let a section write its content for a small run, as `pbkd report` does.

    The run is tried as it is; without labels; and with a damaged plan, configuration and events.

    Args:
        section: The section.

    Raises:
        AssertionError: `render` raises, returns what cannot be shown, or other content for the same
            run.
    """
    whole = _tiny_report()
    teacher, student = whole.run.result.teacher, whole.run.result.student
    unlabelled = replace(
        whole.run.result,
        teacher=replace(teacher, accuracy=None, interval=None),
        student=replace(student, accuracy=None, interval=None, agreement=0.9),
        accuracy_reason="the data has no labels",
        classes=(),
    )
    for data in (
        whole,
        replace(whole, run=replace(whole.run, result=unlabelled)),
        replace(whole, plan=None, config=None, events=[]),
    ):
        written, faults = render_sections([section], data)
        assert not faults, faults[0]
        assert render_sections([section], data)[0] == written, (
            "render returns different contents for the same run"
        )


def _tiny_report() -> ReportData:
    folder = Path("runs", "tiny")
    scores = tuple(
        ClassScore(label=n, name=f"class {n}", images=4, teacher_correct=4, student_correct=3)
        for n in range(4)
    )
    costs = tuple(tiny_costs(1))
    schedule = Schedule(((Job(tuple(cost.name for cost in costs)),),))
    table = CostTable("tiny", costs, Workload(2, 1, 2))
    return ReportData(
        run=Finished("tiny", replace(tiny_result(folder), classes=scores), {}, resumed=False),
        plan=RecordedPlan(table, (Worker(0),), schedule, "greedy", ""),
        events=tiny_events(folder),
        config="seed: 0\n",
    )
