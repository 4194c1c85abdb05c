"""Resolution of the configuration: everything that it leaves open gets its value, once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.data.batching import steps_per_epoch

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.data.datasets import Dataset
    from pbkd.training.task import DistillationTask


__all__ = ["resolve"]

_DISTILL_STEPS, _STUDENT_FED_STEPS, _FINETUNE_STEPS = 600, 300, 600


def resolve(config: RunConfig, task: DistillationTask, workers: int) -> RunConfig:
    """Fill in what a configuration leaves open.

    Args:
        config: The configuration as given.
        task: Teacher and data.
        workers: The number of workers.

    Returns:
        The configuration with `workers` as a number, the preprocessing of the teacher in `data`,
        and a number of epochs for every phase. It is not changed afterwards.
    """

    def epochs(configured: int | None, steps: int, data: Dataset) -> int:
        if configured is not None:
            return configured
        return max(1, round(steps / steps_per_epoch(data.train, config.batch_size)))

    distill, finetune = config.distill, config.finetune
    return replace(
        config,
        data=dict(task.data_choice),
        workers=workers,
        distill=replace(
            distill,
            epochs=epochs(distill.epochs, _DISTILL_STEPS, task.training),
            student_fed_epochs=epochs(
                distill.student_fed_epochs, _STUDENT_FED_STEPS, task.training
            ),
        ),
        finetune=replace(finetune, epochs=epochs(finetune.epochs, _FINETUNE_STEPS, task.data)),
    )
