"""Recalibration of BatchNorm statistics after the student is assembled."""

from __future__ import annotations

import itertools
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.data.batching import shuffled_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pbkd.training.task import DistillationTask


__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(student: nn.Module, task: DistillationTask, count: int, batch_size: int) -> None:
    """Re-estimate the statistics of every BatchNorm, in place, as the mean over some batches.

    Args:
        student: The student, on the task's device; it is left in evaluation mode.
        task: Teacher and data.
        count: Number of batches.
        batch_size: Images per batch.
    """
    norms = [m for m in student.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    student.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for images in islice(_training_images(task, batch_size), count):
        student(task.normalize(images))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    student.eval()


def _training_images(task: DistillationTask, batch_size: int) -> Iterator[Tensor]:
    """Yield augmented training batches without end, epoch after epoch."""
    for epoch in itertools.count():
        for images, _ in shuffled_batches(
            task.data.train,
            batch_size,
            seed=0,
            epoch=epoch,
            augmentation=task.data.augmentation,
            phase="recalibrate",
        ):
            yield images
