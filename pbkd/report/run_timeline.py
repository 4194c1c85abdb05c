"""The timeline of a run, planned and actual, and the speed-up over the serial procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.schedule import Job
from pbkd.errors import ConfigError
from pbkd.planning.cost_model import job_seconds
from pbkd.planning.prediction import serial_seconds
from pbkd.planning.timeline import timeline
from pbkd.report.gantt import WIDTH, gantt_drawing
from pbkd.report.incidents import describe_incident
from pbkd.report.jobs import is_split_anew, job_bars
from pbkd.report.markup import Markup, element, join, table
from pbkd.report.numbers import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.planning.timeline import Bar
    from pbkd.report.report_data import ReportData
    from pbkd.runs.plan_files import RecordedPlan


__all__ = ["gantt_charts", "speedup"]

_PLANNED = "teacher-fed"
_PHASES = (_PLANNED, "retry", "student-fed")
_NO_PLAN = "the files of the plan are damaged or missing"


def gantt_charts(data: ReportData) -> Markup:
    """Return Gantt charts: the plan of the teacher-fed phase, and each actual blockwise phase.

    The plan and the actual teacher-fed phase share the time scale.
    """
    done = {phase: job_bars(data.events, phase) for phase in _PHASES}
    planned = data.plan.seconds if data.plan else 0.0
    ends = {phase: max((_end(bar) for bar in bars), default=0.0) for phase, bars in done.items()}
    ends[_PLANNED] = max(ends[_PLANNED], planned)
    charts = [_plan_chart(data.plan, ends[_PLANNED])]
    for phase, bars in done.items():
        if bars or phase == _PLANNED:
            charts.append(_actual_chart(data, phase, bars, ends[phase]))
    return join(*charts, _incidents(data))


def speedup(data: ReportData) -> Markup:
    """Compare the run with the paper's serial procedure (arXiv:2012.03096), as predicted."""
    if data.plan is None:
        return _why(f"Not predicted: {_NO_PLAN}.")
    plan = data.plan
    costs, steps = plan.table.costs, plan.table.workload.steps
    try:
        serial = serial_seconds(costs, plan.workers[0], plan.table.workload)
    except ConfigError as error:
        return _why(f"Not predicted: {error}")
    one_pass = job_seconds(Job(tuple(cost.name for cost in costs)), costs) * steps
    even = one_pass / sum(worker.speed for worker in plan.workers)
    count = len(plan.workers)
    rows = [
        ("the paper's serial procedure: one worker, a teacher pass for each block", serial),
        (f"as planned: {plan.scheduler} on {count} worker(s)", plan.seconds),
        (f"the ideal: one teacher pass for all blocks, divided evenly by {count}", even),
    ]
    cells: list[tuple[object, ...]] = [
        (what, "predicted", duration(seconds), f"{serial / seconds:.2f}x") for what, seconds in rows
    ]
    heads = ("the teacher-fed phase", "figure", "seconds", "times serial")
    return join(
        table(heads, [*cells, _measured(data, serial)]),
        element("p", f"Costs: {plan.table.about}. Reason for the schedule: {plan.why}."),
    )


def _measured(data: ReportData, serial: float) -> tuple[object, ...]:
    what = "this run, with the start of its workers"
    phases = [phase for phase in data.run.result.phases if phase.name == _PLANNED]
    if data.run.resumed or not phases or not phases[0].seconds:
        why = "the run was resumed" if data.run.resumed else "the result has no such phase"
        return what, "measured", f"not measured: {why}", ""
    seconds = phases[0].seconds
    return what, "measured; its ratio predicted", duration(seconds), f"{serial / seconds:.2f}x"


def _plan_chart(plan: RecordedPlan | None, seconds: float) -> Markup:
    if plan is None:
        return _why(f"The plan: not recorded, {_NO_PLAN}.")
    if not plan.seconds:
        return _why("The plan: its costs are all zero, so there is nothing to draw.")
    bars = timeline(plan.schedule, plan.table.costs, plan.workers, plan.table.workload)
    names = [cost.name for cost in plan.table.costs]
    title = f"Planned: teacher-fed, {plan.scheduler}, {duration(plan.seconds)}"
    note = "Predicted from costs measured before training; the parts of a step are summed."
    return _chart(bars, len(plan.workers), names, seconds, (title, note))


def _actual_chart(data: ReportData, phase: str, bars: Sequence[Bar], seconds: float) -> Markup:
    if data.run.resumed:
        why = "the run was stopped and resumed, so the times of its jobs have gaps"
        return _why(f"Actual, {phase}: not shown, {why}.")
    if phase == _PLANNED and is_split_anew(data.events):
        why = "the blocks were split anew at an epoch's end, so the times of its jobs have gaps"
        return _why(f"Actual, {phase}: not shown, {why}.")
    if not bars or not seconds:
        return _why(f"Actual, {phase}: not recorded, the folder has no events of its jobs.")
    workers = max(1 + max(bar.worker for bar in bars), len(data.plan.workers if data.plan else ()))
    names = list(dict.fromkeys(bar.block or "" for bar in bars))
    end = max(_end(bar) for bar in bars)
    title = f"Actual: {phase}, {duration(end)} from the first job's start to the last one's end"
    note = "The blocks of a job train together, step by step; the job ends with its last block."
    return _chart(bars, workers, names, seconds, (title, note))


def _chart(
    bars: Sequence[Bar],
    workers: int,
    names: Sequence[str],
    seconds: float,
    titles: tuple[str, str],
) -> Markup:
    """Return the chart in a frame that scrolls if it is too wide."""
    title, note = titles
    height, drawing = gantt_drawing(bars, workers, names, seconds, note)
    svg = element(
        "svg",
        element("title", title),
        element("text", title, class_="title", x=24, y=34),
        Markup("".join(drawing)),
        class_="gantt",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
    )
    return element("div", svg, class_="wide")


def _incidents(data: ReportData) -> Markup:
    """Return the failures that the run recovered from, if any."""
    texts = list(filter(None, map(describe_incident, data.events)))
    return element("ul", *(element("li", text) for text in texts)) if texts else Markup()


def _end(bar: Bar) -> float:
    return bar.start + bar.seconds


def _why(text: str) -> Markup:
    return element("p", text, class_="why")
