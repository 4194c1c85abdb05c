"""Accept or keep: which trained candidates enter the student."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.core.events import BlockScored
from pbkd.core.files import read_json, write_json
from pbkd.data.batching import sequential_batches
from pbkd.planning.budget import is_limited, pick_candidates
from pbkd.training.soft_targets import soft_target_loss

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from pbkd.core.events import Emit
    from pbkd.core.results import BlockResult
    from pbkd.data.datasets import Split
    from pbkd.pipeline.plan import PlannedRun
    from pbkd.training.task import DistillationTask


__all__ = ["SoloScore", "select", "solo_scores"]


def select(
    planned_run: PlannedRun,
    trained: Mapping[str, BlockResult],
    replacements: Mapping[str, nn.Module],
    folder: Path,
    emit: Emit,
    notes: list[str],
) -> dict[str, BlockResult]:
    """Return the results of all candidates; those that enter the student are `replaced`.

    `replacements` are those whose training succeeded. A candidate that alone loses too much is
    rejected, whatever the budget; among the others the budget decides, where there is one.
    """
    scores = _scores(planned_run, replacements, folder)
    blocks = {**trained, **_accept(planned_run, trained, scores, emit)}
    if is_limited(planned_run.config.budget):
        blocks |= _pick(planned_run, blocks, folder, notes)
    return blocks


def _scores(
    planned_run: PlannedRun, replacements: Mapping[str, nn.Module], folder: Path
) -> dict[str, SoloScore]:
    """Score each candidate alone on the validation split, once and for all.

    Scores are written down: with other threads, a resumed run might round them another way, and
    accept others than its student-fed phase began with.
    """
    path = folder / "scores.json"
    if path.exists():
        return {name: SoloScore(**score) for name, score in read_json(path).items()}
    task = planned_run.task
    scores = solo_scores(task, replacements, task.data.validation)
    write_json(path, {name: asdict(score) for name, score in scores.items()})
    return scores


def _accept(
    planned_run: PlannedRun,
    trained: Mapping[str, BlockResult],
    scores: Mapping[str, SoloScore],
    emit: Emit,
) -> dict[str, BlockResult]:
    """Reject the candidates that alone lose too much."""
    limit = planned_run.config.max_drop
    blocks = {}
    for name, score in scores.items():
        reason = None
        if score.drop > limit:
            lost = f"{100 * score.drop:.1f} points on validation, over {100 * limit:g}"
            reason = f"alone it loses {lost}"
        blocks[name] = replace(
            trained[name],
            solo_drop=score.drop,
            solo_divergence=score.divergence,
            replaced=reason is None,
            reason=reason,
        )
        emit(BlockScored(block=name, solo_drop=score.drop, reason=reason))
    return blocks


def _pick(
    planned_run: PlannedRun, blocks: Mapping[str, BlockResult], folder: Path, notes: list[str]
) -> dict[str, BlockResult]:
    """Return those of the accepted candidates that the budget leaves out, with why.

    The choice is written down too, since latencies are measured anew when a run is resumed.
    """
    accepted = {name: block for name, block in blocks.items() if block.replaced}
    path = folder / "choice.json"
    if path.exists():
        choice = read_json(path)
    else:
        budget = planned_run.config.budget
        harms = {name: _harm(block, budget.harm) for name, block in accepted.items()}
        picked, note = pick_candidates(budget, planned_run.task, planned_run.plan, harms)
        choice = {"picked": picked, "note": note}
        write_json(path, choice)
    notes.append(choice["note"])
    left_out = {}
    for name, block in accepted.items():
        taken = choice["picked"][candidate_of(name)[0]]
        if taken != name:
            instead = f"prefers '{taken}'" if taken else "keeps the teacher's segment"
            left_out[name] = replace(block, replaced=False, reason=f"the budget {instead}")
    return left_out


def _harm(block: BlockResult, kind: str) -> float:
    measured = {
        "divergence": block.solo_divergence,
        "drop": block.solo_drop,
        "loss": block.teacher_fed_losses[-1],
    }[kind]
    assert measured is not None, "a candidate that was accepted has been scored"
    return measured


@dataclass(frozen=True)
class SoloScore:
    """What a candidate does to the teacher's answers on a split.

    `drop` is the accuracy lost, a share (0.01 is one point), negative where the teacher gains;
    `divergence` the mean Kullback-Leibler divergence from the teacher's answers, in nats.
    """

    drop: float
    divergence: float


@torch.no_grad()
def solo_scores(
    task: DistillationTask, replacements: Mapping[str, nn.Module], split: Split
) -> dict[str, SoloScore]:
    """Return what each candidate does when it alone is swapped into the teacher.

    Only what follows the block is run again.
    """
    for replacement in replacements.values():
        replacement.eval()
    correct = dict.fromkeys(("", *replacements), 0)
    divergence = dict.fromkeys(("", *replacements), 0.0)
    for images, labels in sequential_batches(split, task.images.shape[0] * 4):
        x = task.normalize(images)
        swapped = {}
        for position, (block, segment) in enumerate(task.fused.named_children()):
            for name, replacement in replacements.items():
                if candidate_of(name)[0] == block:
                    swapped[name] = task.fused[position + 1 :](replacement(x))
            x = segment(x)
        answers = labels.to(task.device)
        for name, logits in {"": x, **swapped}.items():
            correct[name] += int((logits.argmax(1) == answers).sum())
            divergence[name] += len(labels) * float(soft_target_loss(logits, x, 1.0))
    rows = len(split)
    return {
        name: SoloScore((correct[""] - correct[name]) / rows, divergence[name] / rows)
        for name in replacements
    }
