"""Optimisers and schedules of the built-in plugins, for tests of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd_adamw import AdamWBuilder
from pbkd_lr_schedules import Cosine

from pbkd.training.optimisation import Optimisation

if TYPE_CHECKING:
    from pbkd.protocols import LearningRateSchedule, OptimiserBuilder


def optimisation(
    lr: float,
    weight_decay: float = 0.0,
    optimiser: OptimiserBuilder | None = None,
    schedule: LearningRateSchedule | None = None,
) -> Optimisation:
    """Return AdamWBuilder with a cosine, or others."""
    return Optimisation(
        optimiser=optimiser or AdamWBuilder(),
        schedule=schedule or Cosine(),
        lr=lr,
        weight_decay=weight_decay,
    )
