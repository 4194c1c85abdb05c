"""The strategies that a run's plan is made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.execution.workers import create_launcher
from pbkd.models.replacement import create_builders
from pbkd.planning.scheduler_choice import schedulers
from pbkd.training.losses import create_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import BlockBuilder, Launcher, Loss, Scheduler


__all__ = ["Strategies", "create_strategies"]


@dataclass(frozen=True)
class Strategies:
    """The strategies of a run, created before anything is loaded, so that mistakes show at once.

    Attributes:
        schedulers: The schedulers to choose from, by name.
        launcher: The launcher.
        builder_choices: Name and options of each builder.
        builders: The builders, in the same order.
        loss: The loss of the blockwise phases.
    """

    schedulers: Mapping[str, Scheduler]
    launcher: Launcher
    builder_choices: Sequence[dict[str, Any]]
    builders: Sequence[BlockBuilder]
    loss: Loss


def create_strategies(
    registry: Registry,
    *,
    builders: Sequence[dict[str, Any]],
    scheduler: Mapping[str, Any],
    launcher: Mapping[str, Any],
    loss: Mapping[str, Any],
) -> Strategies:
    """Create the strategies of a run.

    Args:
        registry: The plugins.
        builders: The choices of all builders.
        scheduler: The choice of the scheduler; `auto` for every installed one.
        launcher: The choice of the launcher.
        loss: The choice of the loss.

    Raises:
        UnknownNameError: If a name is not registered.
        ConfigError: If an option is invalid.
    """
    return Strategies(
        schedulers(scheduler, registry),
        create_launcher(registry, launcher),
        builders,
        create_builders(registry, builders),
        create_loss(registry, loss),
    )
