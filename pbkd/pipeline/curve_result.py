"""The result of a curve, put together from the results of its points."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.curves import STUDENT, TEACHER, CurvePoint, CurveResult, mark_dominated
from pbkd.pipeline.run_folder import resumed_note
from pbkd.report.card import joules_notes, score_name
from pbkd.report.compare import total_joules
from pbkd.runs.curves import point_folder
from pbkd.runs.finished import read_finished
from pbkd.runs.folder import times_resumed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.results import PhaseResult, RunResult
    from pbkd.pipeline.context import RunContext
    from pbkd.runs.finished import Finished


__all__ = ["curve_result"]

_SHARED = ("planning", "teacher-fed", "scoring", "fine-tuning")


def curve_result(ctx: RunContext, ready: Sequence[CurvePoint], notes: Sequence[str]) -> CurveResult:
    """Put the result of a curve together from the results of its points.

    Args:
        ctx: The curve.
        ready: Networks of the zoo.
        notes: Remarks.
    """
    runs = {name: read_finished(point_folder(ctx.folder, name)) for name in ctx.planned.points}
    results = [run.result for run in runs.values()]
    first = results[0]
    teacher = CurvePoint(name=first.teacher.name, kind=TEACHER, network=first.teacher)
    points = [teacher, *(_point(name, run) for name, run in runs.items()), *ready]
    return CurveResult(
        folder=str(ctx.folder),
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        points=mark_dominated(points),
        score_name=score_name(first),
        test_images=first.test_images or 0,
        phases=tuple(_phases(ctx, results)),
        notes=(*notes, *ctx.planned.notes, *resumed_note(ctx.folder)),
        resumed=times_resumed(ctx.folder),
    )


def _point(name: str, run: Finished) -> CurvePoint:
    result = run.result
    return CurvePoint(
        name=name,
        kind=STUDENT,
        network=result.student,
        change=result.change,
        wishes=result.wishes,
        joules=total_joules(run) or None,
        joules_reason="; ".join(joules_notes(result.phases)) or None,
    )


def _phases(ctx: RunContext, results: Sequence[RunResult]) -> list[PhaseResult]:
    """Return the phases of the curve: what the points share once, and the sum of the rest."""
    shared = {phase.name: phase for phase in ctx.clock.results}
    own = [phase for result in results for phase in result.phases if phase.name not in _SHARED]
    pieces = {
        name: [*([shared[name]] if name in shared else []), *(p for p in own if p.name == name)]
        for name in dict.fromkeys(phase.name for phase in results[0].phases)
    }
    return [some[0] if len(some) == 1 else _sum(some) for some in pieces.values()]


def _sum(phases: Sequence[PhaseResult]) -> PhaseResult:
    return replace(
        phases[0],
        seconds=sum(phase.seconds for phase in phases),
        cpu_seconds=sum(phase.cpu_seconds for phase in phases),
        joules=None,
        joules_reason="they are in the results of the points",
    )
