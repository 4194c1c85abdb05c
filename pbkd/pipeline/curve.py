"""A curve: students of several sizes from one teacher-fed phase, each as a run of its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.events import CurveFinished, Note
from pbkd.core.files import write_file
from pbkd.energy.accounting import RUN
from pbkd.energy.phases import PhaseClock
from pbkd.pipeline.curve_events import forward_to_curve
from pbkd.pipeline.curve_figures import measure_curve
from pbkd.pipeline.curve_result import curve_result
from pbkd.pipeline.finish import complete, draft_student, tune_drafts
from pbkd.pipeline.run import begin_run, equipped, needed, publish
from pbkd.pipeline.run_folder import open_point
from pbkd.pipeline.run_result import run_result
from pbkd.pipeline.select import score_candidates, select
from pbkd.pipeline.train_blocks import train_blocks
from pbkd.report.curve_table import curve_csv
from pbkd.report.verdict import verdict
from pbkd.runs.curves import point_folder, write_curve
from pbkd.runs.finished import read_finished
from pbkd.runs.folder import is_finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pbkd.config.schema import RunConfig
    from pbkd.core.curves import CurvePoint, CurveResult
    from pbkd.core.events import Emit
    from pbkd.core.results import BlockResult, NetworkResult, RunResult
    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.finish import Draft
    from pbkd.plugin.registry import Registry


__all__ = ["run_curve"]


def run_curve(
    config: RunConfig,
    registry: Registry,
    emit: Emit = lambda _event: None,
    *,
    resume: Path | None = None,
) -> CurveResult:
    """Compress a teacher to several sizes, the shares of its MACs in `target.curve`.

    All candidates are trained and scored once. The students are then selected and trained
    student-fed one after another, fine-tuned together (see
    `pbkd.training.finetune.train_together`), and evaluated. Each is the student of a run with its
    target alone, in a run folder of its own below `points`.

    Args:
        config: The configuration.
        registry: The plugins.
        emit: Gets every event as it happens.
        resume: The folder of a curve that was stopped, which goes on and gives the same students as
            without the interruption.

    Returns:
        The result, which is written to the folder too.

    Raises:
        PbkdError: As `pbkd.pipeline.run.run`.
    """
    with equipped(config, registry, emit, resume) as tools:
        with tools.monitor.window(RUN):
            ctx, notes = begin_run(tools, config, registry)
            with needed(ctx):
                ctx, trained = train_blocks(ctx)
                score_candidates(ctx, trained, ctx.planned.config.target)
                last, ready = _make_points(ctx, trained, notes, tools.monitor)
        result = curve_result(ctx, ready, (*notes, *ctx.observers.notes))
        write_file(ctx.folder / "curve.csv", curve_csv(result).encode())
        write_curve(ctx.folder, result)
        ctx.observers.run_finished(last)
        ctx.log.forward(CurveFinished(result=result))
        return result


def _make_points(
    ctx: RunContext,
    trained: Mapping[str, BlockResult],
    notes: Sequence[str],
    monitor: EnergyMonitor,
) -> tuple[RunResult, list[CurvePoint]]:
    """Make the students that are not finished.

    Returns:
        The result of the smallest one, and the networks of the zoo beside the students.
    """
    names = [*ctx.planned.points]
    missing = [name for name in names if not is_finished(point_folder(ctx.folder, name))]
    with ExitStack() as stack:
        # All folders are made before one has events of its own, which the others would get too.
        points = [_point_context(stack, ctx, name, missing, monitor) for name in missing]
        drafts = [
            draft_student(point, select(point, trained, point.planned.config.target))
            for point in points
        ]
        with ctx.clock.phase("fine-tuning"):
            tune_drafts(drafts)
        with ctx.clock.phase("evaluation"):
            students = (draft.student for draft in drafts)
            figures, ready = measure_curve(ctx, dict(zip(missing, students, strict=True)))
        for name, draft in zip(missing, drafts, strict=True):
            noted = (*notes, _sharing_note(name, names))
            result = _finish_point(draft, figures[name], noted)
            ctx.log.emit(Note(text=f"{name}: {verdict(result)}"))
    return read_finished(point_folder(ctx.folder, names[-1])).result, ready


def _point_context(
    stack: ExitStack, ctx: RunContext, name: str, names: Sequence[str], monitor: EnergyMonitor
) -> RunContext:
    """Open a point of a curve; its phases so far are those of the curve."""
    own = ctx.planned.points[name]
    planned = replace(
        ctx.planned, config=own.config, expected=own.expected, points={}, notes=(), phases={}
    )
    point = open_point(stack, ctx, planned, partial(forward_to_curve, ctx.log.emit, name, names))
    emit = point.log.emit
    clock = PhaseClock(monitor.apart(), emit, ctx.observers.cpu_seconds, ctx.clock.results)
    return replace(point, clock=clock)


def _finish_point(
    draft: Draft, figures: tuple[NetworkResult, NetworkResult], notes: Sequence[str]
) -> RunResult:
    """Write, evaluate and publish a student."""
    outcome = complete(draft, figures)
    result = run_result(draft.ctx, outcome, notes, None)
    publish(draft.ctx, outcome.student, result)
    return result


def _sharing_note(name: str, names: Sequence[str]) -> str:
    others = ", ".join(other for other in names if other != name)
    return (
        f"This student is the point {name} of a curve. Its planning, teacher-fed and scoring phases"
        f" were those of the points {others} too, and its fine-tuning went on together with theirs:"
        " the seconds, CPU seconds and joules of these phases are those of all."
    )
