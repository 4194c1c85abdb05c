"""The strategies that a run's plan is made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.execution.workers import create_launcher
from pbkd.planning.scheduler_choice import schedulers
from pbkd.training.losses import create_loss
from pbkd.training.optimisation import create_optimisation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.config.schema import DistillConfig, FineTuneConfig
    from pbkd.models.asked_builders import AskedBuilders
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Launcher, Loss, Scheduler
    from pbkd.training.optimisation import Optimisation


__all__ = ["Strategies", "create_strategies"]


@dataclass(frozen=True)
class Strategies:
    """The strategies of a run, created before anything is loaded, so that mistakes show at once.

    Attributes:
        schedulers: The schedulers to choose from, by name.
        launcher: The launcher.
        builders: The builders.
        loss: The loss of the blockwise phases.
        optimisation: Optimiser and learning rate schedule of the blockwise phases.
        finetune_loss: The loss of fine-tuning.
        fine_tuning: Its optimiser and learning rate schedule.
    """

    schedulers: Mapping[str, Scheduler]
    launcher: Launcher
    builders: AskedBuilders
    loss: Loss
    optimisation: Optimisation
    finetune_loss: Loss
    fine_tuning: Optimisation


def create_strategies(
    registry: Registry,
    *,
    builders: AskedBuilders,
    scheduler: Mapping[str, Any],
    launcher: Mapping[str, Any],
    distill: DistillConfig,
    finetune: FineTuneConfig,
) -> Strategies:
    """Create the strategies of a run.

    Args:
        registry: The plugins.
        builders: The builders.
        scheduler: The choice of the scheduler; `auto` for every installed one.
        launcher: The choice of the launcher.
        distill: Loss and optimiser of the blockwise phases.
        finetune: The same of fine-tuning.

    Raises:
        UnknownNameError: If a name is not registered.
        ConfigError: If an option is invalid.
    """
    return Strategies(
        schedulers=schedulers(scheduler, registry),
        launcher=create_launcher(registry, launcher),
        builders=builders,
        loss=create_loss(registry, distill.loss),
        optimisation=create_optimisation(registry, distill, "distill"),
        finetune_loss=create_loss(registry, finetune.loss, "finetune.loss"),
        fine_tuning=create_optimisation(registry, finetune, "finetune"),
    )
