"""Scores of candidates, each swapped into the teacher on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.intervals import Interval, difference_interval
from pbkd.data.batching import sequential_images
from pbkd.training.solo_pass import FUSED, solo_batch, solo_pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from pbkd.data.datasets import Split
    from pbkd.training.solo_pass import SoloPass
    from pbkd.training.task import DistillationTask


__all__ = ["SoloScore", "pass_over", "scores_of_pass", "solo_scores"]


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


def solo_scores(
    task: DistillationTask, replacements: Mapping[str, nn.Module], split: Split
) -> dict[str, SoloScore]:
    """Score each candidate when it alone is swapped into the teacher.

    Args:
        task: Teacher, data and chain.
        replacements: The candidates by name, on the task's device.
        split: The images and labels to score on.

    Returns:
        The score of each candidate.
    """
    return scores_of_pass(pass_over(task, replacements, split), replacements, split.labels)


def pass_over(
    task: DistillationTask, replacements: Mapping[str, nn.Module], split: Split
) -> SoloPass:
    """Make the pass of `solo_pass` over a split, with the arguments of `solo_scores`."""
    batches = sequential_images(split, solo_batch(task))
    return solo_pass(task, replacements, map(task.normalize, batches))


def scores_of_pass(found: SoloPass, names: Iterable[str], labels: Tensor) -> dict[str, SoloScore]:
    """Return the score of each candidate from a pass over all batches.

    Args:
        found: What `solo_pass` returned, put together in the order of the batches.
        names: The candidates.
        labels: The label of every image, int64 (images,).
    """
    before = found[FUSED] == labels
    return {
        name: _score(before, found[f"classes.{name}"] == labels, found[f"divergence.{name}"])
        for name in names
    }


def _score(before: Tensor, after: Tensor, divergences: Tensor) -> SoloScore:
    rows = len(before)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    return SoloScore(
        drop=(lost - gained) / rows,
        divergence=math.fsum(divergences.tolist()) / rows,
        interval=difference_interval(gained, lost, rows),
    )
