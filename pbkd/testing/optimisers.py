"""Conformance tests for optimisers and learning rate schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.training import optimisation_check

if TYPE_CHECKING:
    from pbkd.protocols import LearningRateSchedule, OptimiserBuilder


__all__ = ["check_lr_schedule", "check_optimiser"]

_LENGTHS = (2, 7, 100, 1001)


def check_optimiser(optimiser: OptimiserBuilder) -> None:
    """Run the conformance tests for an optimiser, with and without weight decay.

    Args:
        optimiser: The optimiser.

    Raises:
        PluginError: It fails, learns nothing, or does not continue from a checkpoint.
    """
    for weight_decay in (0.0, 0.01):
        optimisation_check.check_optimiser(optimiser, weight_decay, torch.device("cpu"))


def check_lr_schedule(schedule: LearningRateSchedule) -> None:
    """Run the conformance tests for a learning rate schedule, on trainings of several lengths.

    Args:
        schedule: The schedule.

    Raises:
        PluginError: A factor is not from 0 to 1, depends on more than the step, or all are 0.
    """
    for steps in _LENGTHS:
        optimisation_check.check_schedule(schedule, steps)
