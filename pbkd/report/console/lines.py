"""A run's events as lines: the whole output without a terminal, and what scrolls above the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    CostsChecked,
    CurveFinished,
    EpochDone,
    Note,
    PlanMade,
    Resumed,
    RunFinished,
    TeacherScored,
)
from pbkd.planning.plan import Plan
from pbkd.report.console.display import show_curve, show_plan, show_result
from pbkd.report.incidents import describe_incident
from pbkd.report.numbers import duration
from pbkd.report.scores import interval_text, loss_text, points, share_interval
from pbkd.runs.assignment import FINE_TUNING, STUDENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from pbkd.core.events import Event


__all__ = ["print_event"]


def print_event(event: Event, console: Console) -> None:
    """Print an event of a run, if it is worth a line; epochs of blocks are not."""
    match event:
        case PlanMade(plan=Plan() as plan):
            show_plan(plan, console)
            if event.phases:
                console.print(_phases(event.phases))
            console.print(f"run folder: {event.folder}")
        case RunFinished():
            show_result(event.result, console)
        case CurveFinished():
            show_curve(event.result, console)
        case _:
            if line := _line(event):
                console.print(line)


def _line(event: Event) -> str | None:
    match event:
        case TeacherScored():
            return _teacher(event)
        case PlanMade():  # recorded by another process
            return (
                f"{len(event.blocks)} trainings on {len(event.workers)} worker(s), scheduler"
                f" {event.scheduler}: about {event.seconds:.0f} s of blockwise training\n"
                f"run folder: {event.folder}"
            )
        case BlockTrained():
            return _block(event)
        case BlockScored():
            if event.reason:
                return f"{event.block}: keeps the teacher's: {event.reason}"
            change = loss_text(event.solo_drop, event.interval, event.images, "validation")
            return f"{event.block}: alone it {change}; accepted"
        case EpochDone(accuracy=float() as accuracy):
            figures = f"loss {event.loss:.4f}, validation {points(accuracy)}"
            is_point = event.phase == FINE_TUNING and event.block != STUDENT  # of a curve
            which = f" of {event.block}" if is_point else ""
            return f"{event.phase}{which}, epoch {event.epoch}: {figures}"
        case Note() | CostsChecked():
            return event.text
        case Resumed():
            return "the run was resumed"
        case _:
            return describe_incident(event)


def _phases(phases: Mapping[str, float]) -> str:
    each = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in phases.items())
    return f"predicted for the whole run: {duration(sum(phases.values()))} ({each})"


def _teacher(event: TeacherScored) -> str:
    score = f"{event.images:,} test images, no labels"
    interval = share_interval(event.accuracy, event.images)
    if interval:
        score = f"{points(event.accuracy)} of {event.images:,} test images"
        score += f" (95 %: {interval_text(interval)})"
    return f"teacher {event.name}: {score}; cut by {event.cut}"


def _block(event: BlockTrained) -> str:
    if event.failure:
        return f"{event.block}: failed {event.phase}: {event.failure}"
    loss = f", loss {event.losses[0]:.4f} to {event.losses[-1]:.4f}" if event.losses else ""
    return f"{event.block}: trained {event.phase} by worker {event.worker}{loss}"
