"""Checks of optimisers and schedules before a run: that they work, and continue after a stop."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
from typing import TYPE_CHECKING, ClassVar

import torch
from safetensors.torch import load, save
from torch import nn

from pbkd.errors import PLUGIN_FAILURES, CheckpointError, PluginError, one_line
from pbkd.plugin.attribution import describe_strategy
from pbkd.training.checkpoint import restore, snapshot
from pbkd.training.learner import new_learner
from pbkd.training.optimisation import Optimisation, factor_at

if TYPE_CHECKING:
    from pbkd.protocols import LearningRateSchedule, OptimiserBuilder
    from pbkd.training.learner import Learner


__all__ = ["check_optimiser", "check_schedule"]

_STEPS, _LR = 2, 0.01
_MOST_FACTORS = 10_000


def check_schedule(schedule: LearningRateSchedule, steps: int) -> None:
    """Check the factors of a training, of at most 10,000 steps that are evenly spread.

    Args:
        schedule: The schedule.
        steps: All steps of the training.

    Raises:
        PluginError: A factor is not from 0 to 1 or differs the second time, or all are 0.
    """
    checked = range(0, steps, max(1, -(-steps // _MOST_FACTORS)))
    factors = [factor_at(schedule, step, steps) for step in checked]
    if factors and max(factors) == 0:
        described = describe_strategy("lr-schedule", schedule)
        raise PluginError(f"{described} gives 0 at every step of {steps}: nothing would learn.")
    for step, factor in zip(reversed(checked), reversed(factors), strict=True):
        if (again := factor_at(schedule, step, steps)) != factor:
            described = describe_strategy("lr-schedule", schedule)
            raise PluginError(
                f"{described} gives {factor:g} at step {step} of {steps}, and {again:g} when it is"
                " asked again: the factor must depend on step and steps alone."
            )


def check_optimiser(optimiser: OptimiserBuilder, weight_decay: float, device: torch.device) -> None:
    """Train a small network, and continue it from a checkpoint.

    Args:
        optimiser: The optimiser.
        weight_decay: The weight decay to train with.
        device: Where to train.

    Raises:
        PluginError: The optimiser fails, learns nothing, has a state that cannot be stored, or does
            not continue bit by bit.
    """
    described = describe_strategy("optimiser", optimiser)
    optimisation = Optimisation(
        optimiser=optimiser, schedule=_AtPeak(), lr=_LR, weight_decay=weight_decay
    )
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
        network = network.to(device).to(memory_format=torch.channels_last)
        first, second = (
            new_learner(copy.deepcopy(network), optimisation, steps=2 * _STEPS) for _ in range(2)
        )
        _check_step(described, first.optimiser)
        _train(first, 0)
        if _same(network, first.replacement):
            raise PluginError(f"{described} changes no parameter when it takes a step.")
        _continue(first, second, described)
        for learner in (first, second):
            _train(learner, _STEPS)
    if not _same(first.replacement, second.replacement):
        raise PluginError(
            f"{described} does not continue from a checkpoint as it would have gone on: keep all of"
            " its state in `state_dict()`, and draw no random numbers."
        )


class _AtPeak:
    """A schedule that leaves the learning rate at its peak."""

    name: ClassVar[str] = "peak"

    def factor(self, step: int, steps: int) -> float:  # noqa: ARG002
        return 1.0


def _check_step(described: str, optimiser: torch.optim.Optimizer) -> None:
    """Check that a step needs no arguments, such as the closure of LBFGS."""
    _, *parameters = inspect.signature(type(optimiser).step).parameters.values()
    for parameter in parameters:
        is_variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_variable:
            raise PluginError(
                f"{described} has a `step` that needs the argument '{parameter.name}', but pbkd"
                " calls it without any: such an optimiser cannot be used."
            )


def _train(learner: Learner, first: int) -> None:
    """Take steps with gradients that depend on the number of the step alone."""
    for number in range(first, first + _STEPS):
        generator = torch.Generator().manual_seed(number)
        for parameter in learner.replacement.parameters():
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        learner.step()


def _continue(stopped: Learner, resumed: Learner, described: str) -> None:
    """Put a learner into the state of another by way of what a checkpoint holds."""
    try:
        tensors, facts = snapshot(stopped)
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        restore(load(save(stored)), json.loads(json.dumps(facts)), resumed)
    except CheckpointError as error:
        raise PluginError(f"{described} cannot be stored in a checkpoint: {error}.") from error
    except PLUGIN_FAILURES as error:
        reason = f"{one_line(error):.150}".rstrip(".")
        raise PluginError(f"{described} cannot be stored in a checkpoint ({reason}).") from error


def _same(one: nn.Module, other: nn.Module) -> bool:
    """Whether the parameters have the same bits; NaN is equal to NaN."""
    pairs = zip(map(_bits, one.parameters()), map(_bits, other.parameters()), strict=True)
    return all(itertools.starmap(torch.equal, pairs))


def _bits(parameter: nn.Parameter) -> torch.Tensor:
    return parameter.detach().cpu().contiguous().view(torch.int32)
