"""The training steps of a blockwise phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.workload import Workload
from pbkd.data.batching import steps_per_epoch

if TYPE_CHECKING:
    from pbkd.training.task import DistillationTask


__all__ = ["phase_workload"]


def phase_workload(task: DistillationTask, epochs: int, cache_gigabytes: float = 0.0) -> Workload:
    """Count the steps of a blockwise phase; augmented images are never seen again.

    Args:
        task: Teacher and data.
        epochs: Epochs of the phase.
        cache_gigabytes: Maximum size of the activation cache, in GB.
    """
    per_epoch = steps_per_epoch(task.training.train, len(task.images))
    steps = epochs * per_epoch
    return Workload(
        steps=steps,
        distinct_steps=steps if task.training.augmentation.is_random else per_epoch,
        epochs=epochs,
        cache_bytes=int(1e9 * cache_gigabytes),
    )
