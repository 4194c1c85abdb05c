"""The cheapest student that loses little enough: tried from cheap to dear, until one does."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from pbkd.core.events import BlockScored, BlockTrained, EpochDone, JobStarted
from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.pipeline.drop import is_kept, loss_sentence, validation_change, validation_limit
from pbkd.pipeline.finish import complete, draft_student, tune_drafts
from pbkd.pipeline.refine import final_stage
from pbkd.pipeline.run_folder import open_point
from pbkd.pipeline.select import candidate_harms, score_candidates, select
from pbkd.planning.tries import MOST_TRIES, Tried, Try, cheapest_share, harm_to_try
from pbkd.runs.assignment import FINE_TUNING
from pbkd.runs.events import read_events, record_event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pbkd.config.schema import TargetConfig
    from pbkd.core.events import Emit, Event
    from pbkd.core.results import BlockResult
    from pbkd.core.scores import PairedChange
    from pbkd.pipeline.context import RunContext
    from pbkd.pipeline.finish import Draft, Outcome


__all__ = ["finish_cheapest"]

_TRIES = "tries.json"
_REPEATED = ("student-fed", FINE_TUNING)


def finish_cheapest(
    ctx: RunContext, trained: Mapping[str, BlockResult], target: TargetConfig
) -> Outcome:
    """Find the student with the fewest MACs that keeps `target.max_drop` on the validation split.

    A student is chosen by the harm that its candidates do alone, trained, and scored; if it loses
    too much, a dearer one is next. Each has a folder of its own, with the weights of the
    teacher-fed phase. Those that lost too much are recorded, so that a resumed run goes on with the
    next. The last one that is tried is the result, even if it loses more.

    Args:
        ctx: The run.
        trained: The results of the teacher-fed phase, by candidate.
        target: What the student may lose.

    Returns:
        The evaluated student.

    Raises:
        PbkdError: A student cannot be trained.
    """
    most = validation_limit(ctx.task, target.max_drop or 0.0)
    blocks = score_candidates(ctx, trained, target)
    harms = candidate_harms(blocks, target.harm)
    path = ctx.folder / _TRIES
    tries: tuple[Try, ...] = ()
    if os.path.lexists(path):
        tries = read_record(path, Tried, "a list of students").students
    while True:
        share = _next_share(ctx, replace(target, max_drop=most), tries, blocks, harms)
        is_last = share >= 1 or len(tries) + 1 >= MOST_TRIES
        draft = _make(ctx, trained, replace(target, macs=share), gives_up=not is_last)
        change = _change(draft)
        if is_last or is_kept(change, most):
            break
        low, high = (-100 * end for end in reversed(change.interval))
        harm = sum(harms[name] for name in draft.kept.accepted)
        tries = (*tries, Try(share, harm, -100 * change.difference, low, high))
        write_json(path, asdict(Tried(tries)))
        shutil.rmtree(draft.ctx.folder)
    draft.notes.append(_note(draft, share, tries, change, (target.max_drop or 0.0, most)))
    _take_over_events(draft.ctx.folder, ctx.folder)
    outcome = complete(replace(draft, ctx=ctx))
    shutil.rmtree(draft.ctx.folder.parent, ignore_errors=True)  # of all students
    return outcome


def _next_share(
    ctx: RunContext,
    target: TargetConfig,
    tries: tuple[Try, ...],
    blocks: Mapping[str, BlockResult],
    harms: Mapping[str, float],
) -> float:
    """Return the share of the MACs of the next student."""
    drops = (blocks[name].solo_drop or 0.0 for name in harms)
    alone = 100 * sum(max(drop, 0.0) for drop in drops), sum(harms.values())
    most_harm = harm_to_try(tries, target.max_drop or 0.0, alone)
    selector = ctx.planned.tools.selector
    return cheapest_share(target, ctx.task, ctx.plan, harms, selector, most_harm)


def _make(
    ctx: RunContext, trained: Mapping[str, BlockResult], target: TargetConfig, *, gives_up: bool
) -> Draft:
    """Select and train a student within a target's share of the MACs, in a folder of its own."""
    planned = ctx.planned.with_target(target)
    with ExitStack() as stack:
        own = open_point(stack, ctx, planned, partial(_tell, ctx.log.forward))
        draft = draft_student(own, select(own, trained, target))
        tune_drafts([draft], gives_up=gives_up)
    return draft


def _tell(emit: Emit, event: Event) -> None:
    """Pass an event of a student on, but not once more how the candidates scored."""
    if not isinstance(event, BlockScored):
        emit(event)


def _take_over_events(student: Path, run: Path) -> None:
    """Record the training of the student as that of the run, unless it was done before."""
    known, trained = (
        [
            event
            for event in read_events(folder)
            if isinstance(event, (BlockTrained, EpochDone, JobStarted)) and event.phase in _REPEATED
        ]
        for folder in (run, student)
    )
    if not known:
        for event in trained:
            record_event(run, "host", event)


def _change(draft: Draft) -> PairedChange:
    return validation_change(draft.ctx.task, final_stage(draft.stages).classes)


def _note(
    draft: Draft,
    share: float,
    tries: tuple[Try, ...],
    change: PairedChange,
    limits: tuple[float, float],
) -> str:
    """Say which students were tried, with the limits on new and on the validation images."""
    max_drop, most = limits
    wish = f"target.max_drop={max_drop:g}"
    text = f"No student of these candidates is likely to keep {wish}: nothing is replaced."
    if draft.kept.accepted:
        verdict = "keeps" if is_kept(change, most) else "does not certainly keep"
        loss = loss_sentence(change, "validation")
        text = f"The student within {share:g} of the MACs {verdict} {wish}: it {loss}."
    if tries:
        lost = (f"{t.macs:g} ({t.lost:.2f} points, at most {t.most:.2f})" for t in tries)
        text += f" What students within fewer MACs lost: {', '.join(lost)}."
    return text
