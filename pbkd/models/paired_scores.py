"""Scores of teacher and student on the same images: the change of accuracy, and by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.scores import ClassScore, PairedChange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


__all__ = ["class_scores", "paired_change"]


def paired_change(classes: Mapping[str, Tensor], labels: Tensor) -> PairedChange:
    """Count the images that teacher and student classify correctly.

    Args:
        classes: The predicted classes of `teacher` and `student`, int64 (N,) each.
        labels: The classes of the images, int64 (N,).

    Returns:
        The change of accuracy from teacher to student.
    """
    teacher, student = classes["teacher"] == labels, classes["student"] == labels
    return PairedChange.of(
        both_correct=int((teacher & student).sum()),
        lost=int((teacher & ~student).sum()),
        gained=int((~teacher & student).sum()),
        both_wrong=int((~teacher & ~student).sum()),
    )


def class_scores(
    classes: Mapping[str, Tensor], labels: Tensor, names: Sequence[str] | None
) -> tuple[ClassScore, ...]:
    """Count the correctly classified images of every class that has images.

    Args:
        classes: The predicted classes of `teacher` and `student`, int64 (N,) each.
        labels: The classes of the images, int64 (N,).
        names: The name of every class; None if they are unknown.

    Returns:
        The scores in the order of the classes.
    """
    size = int(labels.max()) + 1
    images = torch.bincount(labels).tolist()
    correct = {
        role: torch.bincount(labels[predicted == labels], minlength=size).tolist()
        for role, predicted in classes.items()
    }
    return tuple(
        ClassScore(
            label=label,
            name=names[label] if names and label < len(names) else None,
            images=count,
            teacher_correct=correct["teacher"][label],
            student_correct=correct["student"][label],
        )
        for label, count in enumerate(images)
        if count
    )
