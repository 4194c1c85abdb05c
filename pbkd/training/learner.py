"""A network in training: optimiser, learning rate schedule, gradient scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from pbkd.models.precision import autocast

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


__all__ = ["OPTIMISERS", "Learner", "new_learner", "warmup_cosine"]

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    # As networks for CIFAR and ImageNet are usually trained (He et al. 2015, arXiv 1512.03385).
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


@dataclass(kw_only=True)
class Learner:
    """A network in training, usually a replacement, with its own optimiser.

    Attributes:
        replacement: The network.
        forward: The network in the precision of the run.
        scaler: Scales the gradients of float16.
        optimiser: Updates the network.
        rate: The learning rate schedule.
        losses: The mean loss of each finished epoch.
        failure: Why it is not trained any further; None while it is.
        micro_batches: Micro-batches per batch (gradient accumulation).
    """

    replacement: nn.Module
    forward: nn.Module
    scaler: torch.amp.GradScaler
    optimiser: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)
    failure: str | None = None
    micro_batches: int = 1

    def step(self) -> None:
        """Take an optimiser step and advance the learning rate schedule."""
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.rate.step()

    def fail(self, reason: str) -> None:
        """Stop its training and free the memory of its optimiser."""
        self.failure = reason
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()


def warmup_cosine(
    optimiser: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Schedule a linear warm-up over the first 5 % of the steps, then a cosine to zero."""
    warmup = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def new_learner(
    replacement: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    steps: int,
    dtype: torch.dtype = torch.float32,
    optimiser: str = "adamw",
) -> Learner:
    """Prepare a network for training.

    Args:
        replacement: The network, on the device to train on.
        lr: Peak learning rate.
        weight_decay: The optimiser's weight decay.
        steps: Number of steps, which the learning rate schedule spans.
        dtype: What the network computes in; not float32: under autocast.
        optimiser: A key of `OPTIMISERS`.

    Returns:
        The network in training mode, with its optimiser.
    """
    device = next(replacement.parameters()).device
    algorithm = OPTIMISERS[optimiser](
        replacement.parameters(),
        lr=lr,
        weight_decay=weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    return Learner(
        replacement=replacement.train(),
        forward=autocast(replacement, dtype),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        optimiser=algorithm,
        rate=warmup_cosine(algorithm, steps),
    )
