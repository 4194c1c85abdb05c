"""Scores of candidates, each swapped into the teacher on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.core.intervals import Interval, difference_interval
from pbkd.data.batching import sequential_batches
from pbkd.training.soft_targets import soft_target_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.data.datasets import Split
    from pbkd.training.task import DistillationTask


__all__ = ["SoloScore", "solo_scores"]


@dataclass(frozen=True)
class SoloScore:
    """How much a candidate changes the teacher's predictions on a split.

    Attributes:
        drop: The accuracy lost, as a share (0.01 is a point); negative if the teacher gains.
        divergence: The mean Kullback-Leibler divergence from the teacher's predictions, in nats.
        interval: 95 % interval of `drop`.
    """

    drop: float
    divergence: float
    interval: Interval | None = None


@torch.no_grad()
def solo_scores(
    task: DistillationTask, replacements: Mapping[str, nn.Module], split: Split
) -> dict[str, SoloScore]:
    """Score each candidate when it alone is swapped into the teacher.

    Only the segments after its block are computed again.

    Args:
        task: Teacher, data and chain.
        replacements: The candidates by name, on the task's device.
        split: The images and labels to score on.

    Returns:
        The score of each candidate.
    """
    for replacement in replacements.values():
        replacement.eval()
    lost, gained = dict.fromkeys(replacements, 0), dict.fromkeys(replacements, 0)
    divergence = dict.fromkeys(replacements, 0.0)
    for images, labels in sequential_batches(split, task.images.shape[0] * 4):
        x = task.normalize(images)
        swapped = {}
        for position, (block, segment) in enumerate(task.fused.named_children()):
            for name, replacement in replacements.items():
                if candidate_of(name)[0] == block:
                    swapped[name] = task.fused[position + 1 :](replacement(x))
            x = segment(x)
        answers = labels.to(task.device)
        before = x.argmax(1) == answers
        for name, logits in swapped.items():
            after = logits.argmax(1) == answers
            lost[name] += int((before & ~after).sum())
            gained[name] += int((~before & after).sum())
            divergence[name] += len(labels) * float(soft_target_loss(logits, x, 1.0))
    rows = len(split)
    return {
        name: SoloScore(
            drop=(lost[name] - gained[name]) / rows,
            divergence=divergence[name] / rows,
            interval=difference_interval(gained[name], lost[name], rows),
        )
        for name in replacements
    }
