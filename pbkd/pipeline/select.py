"""Selection: which trained candidates enter the student."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import candidate_of
from pbkd.core.events import BlockScored, Note
from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.errors import RunFolderError
from pbkd.models.replacement import read_replacement
from pbkd.pipeline.block_results import failure_notes
from pbkd.pipeline.choice import choose
from pbkd.pipeline.scoring import share_solo_pass
from pbkd.pipeline.solo_scores import SoloScore, pass_over, scores_of_pass
from pbkd.planning.limits import is_limited
from pbkd.report.scores import loss_text
from pbkd.runs.assignment import SCORING
from pbkd.training.solo_pass import FUSED

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.core.events import Emit
    from pbkd.core.results import BlockResult
    from pbkd.pipeline.choice import Choice
    from pbkd.pipeline.context import RunContext
    from pbkd.protocols import Selector


__all__ = ["Selection", "candidate_harms", "score_candidates", "select"]

_HIGH = 0.9
_FEW = 100  # validation images of which one or two must not reject a candidate


@dataclass(frozen=True)
class Selection:
    """The trained candidates and which of them enter the student.

    Attributes:
        blocks: The result of each candidate, by its name; `replaced` if it enters the student.
        accepted: The replacements that enter the student, by candidate name, one per block.
        notes: What was decided, a sentence each.
    """

    blocks: Mapping[str, BlockResult]
    accepted: Mapping[str, nn.Module]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Choice:
    """The content of `choice.json`: the candidate of each block, or None, and a sentence."""

    picked: Mapping[str, str | None]
    note: str


def select(ctx: RunContext, trained: Mapping[str, BlockResult], target: TargetConfig) -> Selection:
    """Decide which trained candidates enter the student.

    A candidate that alone loses too much accuracy is rejected; among the others the target decides,
    if it limits the cost.

    Args:
        ctx: The run.
        trained: The results of the teacher-fed phase, by candidate.
        target: What the student may cost, and a candidate may lose alone.

    Returns:
        The selection, with the weights of the teacher-fed phase.
    """
    with ctx.clock.phase(SCORING):
        replacements, blocks = _scored(ctx, trained, target.block_drop)
        notes: list[str] = []
        if is_limited(target):
            choice = _choice(ctx, blocks, target)
            blocks |= _left_out(blocks, choice.picked)
            notes.append(choice.note)
        notes += failure_notes(blocks.values())
    accepted = {name: r for name, r in replacements.items() if blocks[name].replaced}
    return Selection(blocks, accepted, tuple(notes))


def score_candidates(
    ctx: RunContext, trained: Mapping[str, BlockResult], target: TargetConfig
) -> dict[str, BlockResult]:
    """Score the trained candidates alone, for several selections; arguments as for `select`.

    Returns:
        The results of all candidates, accepted or not.
    """
    with ctx.clock.phase(SCORING):
        return _scored(ctx, trained, target.block_drop)[1]


def candidate_harms(blocks: Mapping[str, BlockResult], kind: str) -> dict[str, float]:
    """Return the harm of each accepted candidate, of the kind `target.harm`."""
    return {name: _harm(block, kind) for name, block in blocks.items() if block.replaced}


def _scored(
    ctx: RunContext, trained: Mapping[str, BlockResult], block_drop: float
) -> tuple[dict[str, nn.Module], dict[str, BlockResult]]:
    """Return the trained replacements, and all results, accepted or not."""
    replacements = {
        name: read_replacement(ctx.folder / "teacher-fed", replacement, name).to(ctx.task.device)
        for name, replacement in ctx.planned.replacements.items()
        if trained[name].replaced is None
    }
    scores, images = _scores(ctx, replacements), len(ctx.task.data.validation)
    accepted = _accept(trained, scores, block_drop, images, ctx.log.emit)
    return replacements, {**trained, **accepted}


def _scores(ctx: RunContext, replacements: Mapping[str, nn.Module]) -> dict[str, SoloScore]:
    """Score each candidate on the validation split, and write the scores down.

    A resumed run reads them: with other threads it might round differently, and accept other
    candidates than its student-fed phase began with.
    """
    path = ctx.folder / "scores.json"
    known: dict[str, SoloScore] | None = _recorded(ctx, path, Mapping[str, SoloScore])
    if known is not None and known.keys() == replacements.keys():
        return known
    validation, workers = ctx.task.data.validation, ctx.planned.sharing.get(SCORING)
    if workers and replacements:
        found = share_solo_pass(ctx, replacements, workers)
    else:
        found = pass_over(ctx.task, replacements, validation)
    ctx.task.know_validation_classes(found[FUSED])
    scores = scores_of_pass(found, replacements, validation.labels)
    write_json(path, {name: asdict(score) for name, score in scores.items()})
    return scores


def _recorded(ctx: RunContext, path: Path, hint: Any) -> Any:
    """Read a file of the interrupted run; None if it is missing, or (with a note) damaged."""
    if not os.path.lexists(path):
        return None
    try:
        return read_record(path, hint, "a selection")
    except RunFolderError as error:
        ctx.log.emit(Note(text=f"{error} It is made again."))
        return None


def _accept(
    trained: Mapping[str, BlockResult],
    scores: Mapping[str, SoloScore],
    block_drop: float,
    images: int,
    emit: Emit,
) -> dict[str, BlockResult]:
    """Reject the candidates that alone lose too much on the validation images."""
    blocks = {}
    for name, score in scores.items():
        reason = None
        if 100 * _loss(score, images) > block_drop:
            change = loss_text(score.drop, score.interval, images, "validation")
            reason = f"alone it {change}, over {block_drop:g}{_cure(trained[name])}"
        blocks[name] = replace(
            trained[name],
            solo_drop=score.drop,
            solo_divergence=score.divergence,
            solo_interval=score.interval,
            solo_images=images,
            replaced=reason is None,
            reason=reason,
        )
        event = BlockScored(
            block=name,
            solo_drop=score.drop,
            reason=reason,
            interval=score.interval,
            images=images,
        )
        emit(event)
    return blocks


def _cure(block: BlockResult) -> str:
    """Name the learning rate if the loss is high; a relative error of 1 is that of zeros."""
    losses = block.teacher_fed_losses
    if not losses or losses[-1] < _HIGH:
        return ""
    return f"; its last loss is {losses[-1]:.3g}: if its training diverged, lower distill.lr"


def _loss(score: SoloScore, images: int) -> float:
    """Return what a candidate loses; on few images, what it loses at least."""
    return score.interval[0] if score.interval and images < _FEW else score.drop


def _choice(ctx: RunContext, blocks: Mapping[str, BlockResult], target: TargetConfig) -> _Choice:
    """Choose among the accepted candidates by the target, and write the choice down.

    A resumed run reads it: it measures latencies anew.
    """
    path = ctx.folder / "choice.json"
    choice: _Choice | None = _recorded(ctx, path, _Choice)
    remaining = {candidate_of(name)[0] for name, block in blocks.items() if block.replaced}
    if choice is not None and remaining <= choice.picked.keys():
        return choice
    planned, harms = ctx.planned, candidate_harms(blocks, target.harm)
    found = choose(target, ctx.task, ctx.plan, planned.replacements, harms, planned.tools)
    choice = _Choice(found.names, _choice_note(found, planned.tools.selector, len(harms)))
    write_json(path, asdict(choice))
    return choice


def _choice_note(choice: Choice, selector: Selector, count: int) -> str:
    blocks = len(choice.names)
    if not choice.is_possible:
        return (
            f"The {count} accepted candidates cannot keep the target's limits: each of {blocks}"
            " blocks got its cheapest."
        )
    kind = "An exact choice"
    if not getattr(selector, "exact", False):
        kind = f"A choice by {selector.name}"
    return f"{kind} among {count} candidates for {blocks} blocks keeps the target's limits."


def _left_out(
    blocks: Mapping[str, BlockResult], picked: Mapping[str, str | None]
) -> dict[str, BlockResult]:
    """Mark the accepted candidates that the target leaves out, with the reason."""
    left_out = {}
    for name, block in blocks.items():
        if not block.replaced:
            continue
        preferred = picked[candidate_of(name)[0]]
        if preferred != name:
            instead = f"prefers '{preferred}'" if preferred else "keeps the teacher's segment"
            left_out[name] = replace(block, replaced=False, reason=f"the target {instead}")
    return left_out


def _harm(block: BlockResult, kind: str) -> float:
    measured = {
        "divergence": block.solo_divergence,
        "drop": block.solo_drop,
        "loss": block.teacher_fed_losses[-1],
    }[kind]
    assert measured is not None, "a candidate that was accepted has been scored"
    return measured
