"""A batch that networks learn from, with the teacher's outputs, and the loss of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.learner import Learner
    from pbkd.training.training_settings import TrainingSettings

    Objective = Callable[[Learner, "Lesson", int], Tensor]
    """Maps a network in training, a lesson and the epoch to a loss."""


__all__ = ["Lesson", "objective"]


class Lesson:
    """A batch of images and labels; the teacher runs at most once for each set of features.

    Attributes:
        images: Normalised images, (B, C, H, W).
        labels: Their labels, int64 (B,).
    """

    def __init__(self, images: Tensor, labels: Tensor, teacher: nn.Module | None) -> None:
        """Keep a batch, and the teacher; None where labels alone are learnt."""
        self.images = images
        self.labels = labels
        self._teacher = teacher
        self._taught: dict[tuple[str, ...], tuple[Tensor, Mapping[str, Tensor]]] = {}

    def taught(self, loss: AppliedLoss) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the teacher's logits, and the features that a loss asks for."""
        if loss.features not in self._taught:
            self._taught[loss.features] = self._ask(loss)
        return self._taught[loss.features]

    @torch.no_grad()
    def _ask(self, loss: AppliedLoss) -> tuple[Tensor, Mapping[str, Tensor]]:
        if loss.features:
            return loss.teach(self.images)
        assert self._teacher is not None, "a loss learns from a teacher"
        return self._teacher(self.images), {}


def objective(settings: TrainingSettings, *, is_taught: bool, labelled: bool) -> Objective:
    """Return what is minimised: the loss to the teacher, or cross-entropy with the labels.

    Args:
        settings: The loss, and the workers that share every batch.
        is_taught: Whether there is a teacher.
        labelled: Whether the labels are known to the loss.
    """
    if not is_taught:
        return _cross_entropy
    loss, replicas = settings.loss, settings.replicas
    assert loss is not None, "a teacher's outputs are learnt by a loss"

    def distance(learner: Learner, lesson: Lesson, epoch: int) -> Tensor:
        x, labels = lesson.images, lesson.labels if labelled else None
        logits, features = loss.forward(learner.replacement, learner.forward, x)
        target, theirs = lesson.taught(loss)
        context = loss.context(
            x, epoch=epoch, features=features, teacher_features=theirs, labels=labels
        )
        if replicas is not None:
            return replicas.loss(loss, logits.float(), target.float(), context)
        return loss(logits.float(), target.float(), context)

    return distance


def _cross_entropy(learner: Learner, lesson: Lesson, _epoch: int) -> Tensor:
    return functional.cross_entropy(learner.forward(lesson.images).float(), lesson.labels)
