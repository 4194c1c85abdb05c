"""A run's preview in the terminal: the plan, the expected student, the seconds of every phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.card import cost_figures
from pbkd.report.console.display import open_console, print_table, show_plan
from pbkd.report.console.lines import print_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.events import TeacherScored
    from pbkd.core.results import NetworkResult
    from pbkd.planning.plan import Plan

__all__ = ["show_preview"]


def show_preview(
    plan: Plan,
    scored: TeacherScored,
    notes: Sequence[str],
    networks: tuple[NetworkResult, NetworkResult],
    phases: Mapping[str, float],
) -> None:
    """Print what a run will do and give.

    Args:
        plan: The plan.
        scored: The teacher's score.
        notes: Remarks, a sentence each.
        networks: The figures of the teacher and of the expected student.
        phases: The seconds of every phase, in the order of the run.
    """
    console = open_console()
    print_event(scored, console)
    for note in notes:
        console.print(note)
    show_plan(plan, console)
    heads = ("expected", "teacher", "student", "teacher / student")
    rows = [
        (figure.name, *figure.written, figure.ratio)
        for figure in cost_figures(*networks)
        if "percentile" not in figure.name
    ]
    print_table(console, heads, rows, left={0})
    times = {**phases, "whole run": sum(phases.values())}
    seconds = [(phase, f"{predicted:,.2f}") for phase, predicted in times.items()]
    print_table(console, ("phase", "predicted seconds"), seconds, left={0})
