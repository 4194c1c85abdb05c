"""Resolution of the configuration: everything that it leaves open gets its value, once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.training.task import DistillationTask


__all__ = ["epochs_of_steps", "resolve"]

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

    def epochs(configured: int | None, steps: int, images: int) -> int:
        if configured is not None:
            return configured
        return epochs_of_steps(steps, images, config.batch_size)

    distill, finetune = config.distill, config.finetune
    return replace(
        config,
        data=dict(task.data_choice),
        workers=workers,
        distill=replace(
            distill,
            epochs=epochs(distill.epochs, _DISTILL_STEPS, len(task.training.train)),
            student_fed_epochs=epochs(
                distill.student_fed_epochs, _STUDENT_FED_STEPS, len(task.training.train)
            ),
        ),
        finetune=replace(
            finetune, epochs=epochs(finetune.epochs, _FINETUNE_STEPS, len(task.data.train))
        ),
    )


def epochs_of_steps(steps: int, images: int, batch_size: int) -> int:
    """Compute how many epochs come nearest to a number of training steps.

    Args:
        steps: The steps.
        images: Images of the training split.
        batch_size: Images per step.

    Returns:
        The epochs, at least one.
    """
    return max(1, round(steps / max(1, images // batch_size)))
