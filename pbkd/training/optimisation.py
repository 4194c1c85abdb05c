"""How a network's weights are updated: optimiser, learning rate schedule, weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from pbkd.errors import PLUGIN_FAILURES, PluginError
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.training.eager_steps import build_without_compiler, step_without_compiler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import LearningRateSchedule, OptimiserBuilder


__all__ = ["Optimisation", "build_optimiser", "create_optimisation", "factor_at", "schedule_rate"]


class _Configured(Protocol):
    """The part of a configuration that chooses an optimisation."""

    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    lr: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a network's weights are updated.

    Attributes:
        optimiser: Builds the optimiser.
        schedule: The learning rate schedule.
        lr: Peak learning rate.
        weight_decay: The optimiser's weight decay.
    """

    optimiser: OptimiserBuilder
    schedule: LearningRateSchedule
    lr: float
    weight_decay: float = 0.0


def create_optimisation(
    registry: Registry, config: _Configured, section: str | None = None
) -> Optimisation:
    """Create the optimiser and schedule that a configuration chooses.

    Args:
        registry: The plugins.
        config: The choices, peak learning rate and weight decay.
        section: The section of the configuration, such as "distill", for error messages; None at
            the top level.

    Raises:
        UnknownNameError: A name is not registered.
        ConfigError: An option is invalid.
    """
    prefix = f"{section}." if section else ""
    return Optimisation(
        optimiser=registry.create("optimiser", config.optimiser, f"{prefix}optimiser"),
        schedule=registry.create("lr-schedule", config.schedule, f"{prefix}schedule"),
        lr=config.lr,
        weight_decay=config.weight_decay,
    )


def build_optimiser(
    optimisation: Optimisation, parameters: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """Build an optimiser.

    Args:
        optimisation: What to build.
        parameters: The parameters to train.

    Raises:
        PluginError: The plugin fails, or returns anything but an optimiser of these parameters.
    """
    builder = optimisation.optimiser
    build_without_compiler()
    try:
        built = builder.build(parameters, optimisation.lr, optimisation.weight_decay)
    except PLUGIN_FAILURES as error:
        raise PluginError(f"{describe_failure('optimiser', builder, 'build', error)}.") from error
    if not isinstance(built, torch.optim.Optimizer):
        raise PluginError(
            f"{describe_strategy('optimiser', builder)} builds a {type(built).__name__}, but must"
            " return a torch.optim.Optimizer."
        )
    trained = {id(p) for group in built.param_groups for p in group["params"]}
    if trained != {id(p) for p in parameters}:
        raise PluginError(
            f"{describe_strategy('optimiser', builder)} builds an optimiser of other parameters:"
            " pass all that `build` is given, and no others, to it."
        )
    if not all(isinstance(group.get("lr"), (float, int, Tensor)) for group in built.param_groups):
        raise PluginError(
            f"{describe_strategy('optimiser', builder)} builds an optimiser without a learning rate"
            " `lr` in each parameter group, which the schedule sets."
        )
    step_without_compiler(built)
    return built


def factor_at(schedule: LearningRateSchedule, step: int, steps: int) -> float:
    """Return the factor of the learning rate at a step.

    Raises:
        PluginError: The schedule fails, or gives anything but a number from 0 to 1.
    """
    try:
        value = float(schedule.factor(step, steps))
    except PLUGIN_FAILURES as error:
        where = f"factor({step}, {steps})"
        raise PluginError(f"{describe_failure('lr-schedule', schedule, where, error)}.") from error
    if not 0 <= value <= 1:
        raise PluginError(
            f"{describe_strategy('lr-schedule', schedule)} gives {value:g} at step {step} of"
            f" {steps}, but must give a factor of the peak learning rate, from 0 to 1."
        )
    return value


def schedule_rate(
    optimiser: torch.optim.Optimizer, schedule: LearningRateSchedule, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Schedule an optimiser's learning rate, which is `optimiser`'s own at a factor of 1.

    Args:
        optimiser: The optimiser.
        schedule: The schedule.
        steps: All steps of the training.
    """
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: factor_at(schedule, min(step, steps - 1), steps)
    )
