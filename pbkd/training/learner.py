"""A network in training: optimiser, learning rate schedule, gradient scaling."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from pbkd.errors import PLUGIN_FAILURES, PluginError, is_out_of_memory
from pbkd.models.precision import autocast
from pbkd.plugin.attribution import describe_failure
from pbkd.training.optimisation import build_optimiser, factor_at, schedule_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.training.applied_loss import AppliedLoss
    from pbkd.training.loss_watch import LossWatch
    from pbkd.training.optimisation import Optimisation
    from pbkd.training.random_stream import RandomStream


__all__ = ["BlockMethod", "Learner", "new_learner"]


@dataclass(frozen=True)
class BlockMethod:
    """How a replacement learns its block's output.

    Attributes:
        losses: The loss between output and target, by block.
        optimisation: How weights are updated.
        dtype: What the replacement computes in; not float32: under autocast.
    """

    losses: Mapping[str, AppliedLoss]
    optimisation: Optimisation
    dtype: torch.dtype = torch.float32


@dataclass(kw_only=True)
class Learner:
    """A network in training, usually a replacement, with its own optimiser.

    Attributes:
        replacement: The network.
        optimisation: How it is updated.
        forward: The network in the precision of the run.
        scaler: Scales the gradients of float16.
        optimiser: Updates the network.
        rate: The learning rate schedule.
        losses: The mean loss of each finished epoch.
        failure: Why it is not trained any further; None while it is.
        micro_batches: Micro-batches per batch (gradient accumulation).
        watch: Tells when the loss diverges within an epoch; None to look at whole epochs only.
        random: The random numbers that it draws; None for the process's.
    """

    replacement: nn.Module
    optimisation: Optimisation
    forward: nn.Module
    scaler: torch.amp.GradScaler
    optimiser: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)
    failure: str | None = None
    micro_batches: int = 1
    watch: LossWatch | None = None
    random: RandomStream | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Get ready to draw the random numbers of an epoch."""
        if self.random is not None:
            self.random.begin(epoch)

    def drawing(self) -> AbstractContextManager[None]:
        """Return a context for a step, in which the network draws its own random numbers."""
        return self.random.drawn() if self.random is not None else nullcontext()

    def step(self) -> None:
        """Take an optimiser step and advance the learning rate schedule.

        Raises:
            PluginError: The optimiser or the schedule fails.
        """
        try:
            self.scaler.step(self.optimiser)
        except PLUGIN_FAILURES as error:
            if is_out_of_memory(error):
                raise
            failure = describe_failure("optimiser", self.optimisation.optimiser, "step", error)
            raise PluginError(f"{failure}.") from error
        self.scaler.update()
        self.rate.step()

    def skip_to(self, step: int, steps: int) -> None:
        """Set the learning rate to its value at a step of the schedule, which has `steps`."""
        self.rate.last_epoch = step
        factor = factor_at(self.optimisation.schedule, step, steps)
        for group, peak in zip(self.optimiser.param_groups, self.rate.base_lrs, strict=True):
            group["lr"] = peak * factor

    def fail(self, reason: str) -> None:
        """Stop its training and free the memory of its optimiser."""
        self.failure = reason
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()


def new_learner(
    replacement: nn.Module,
    optimisation: Optimisation,
    *,
    steps: int,
    dtype: torch.dtype = torch.float32,
) -> Learner:
    """Prepare a network for training.

    Args:
        replacement: The network, on the device to train on.
        optimisation: Optimiser, learning rate and its schedule, weight decay.
        steps: Number of steps, which the learning rate schedule spans.
        dtype: What the network computes in; not float32: under autocast.

    Returns:
        The network in training mode, with its optimiser.

    Raises:
        PluginError: The optimiser or the schedule fails.
    """
    parameters = list(replacement.parameters())
    device = parameters[0].device
    optimiser = build_optimiser(optimisation, parameters)
    return Learner(
        replacement=replacement.train(),
        optimisation=optimisation,
        forward=autocast(replacement, dtype),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        optimiser=optimiser,
        rate=schedule_rate(optimiser, optimisation.schedule, steps),
    )
