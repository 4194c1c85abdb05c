"""The inner loop of everything: train the replacements of a job on its lessons."""

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


__all__ = ["OPTIMISERS", "Trainee", "trainee", "warmup_cosine"]

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    # As networks for CIFAR and ImageNet are usually trained (He et al. 2015, arXiv 1512.03385).
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


@dataclass
class Trainee:
    """A network in training, mostly a replacement, with its own optimiser and rate schedule.

    `forward` runs the replacement in the precision of the run; `losses` holds the mean loss of
    each finished epoch; `failure` says why it is trained no further. A batch is gone through in so
    many `micro_batches`, whose gradients add up.
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
        """Update by the gradients that are there, and go on to the next rate."""
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.rate.step()

    def fail(self, reason: str) -> None:
        """Train it no further; give back the memory of its optimiser."""
        self.failure = reason
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()


def warmup_cosine(
    optimiser: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Raise the rate linearly over the first 5 % of the steps, then lower it along a cosine."""
    warmup = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def trainee(
    replacement: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    steps: int,
    dtype: torch.dtype = torch.float32,
    optimiser: str = "adamw",
) -> Trainee:
    """Give a replacement its own optimiser and a warm-up and cosine over `steps` steps.

    The optimiser is one of `OPTIMISERS`. With another `dtype` than float32 the replacement runs
    under autocast; float16's gradients are scaled.
    """
    device = next(replacement.parameters()).device
    own = OPTIMISERS[optimiser](
        replacement.parameters(),
        lr=lr,
        weight_decay=weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    return Trainee(
        replacement.train(),
        autocast(replacement, dtype),
        torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        own,
        warmup_cosine(own, steps),
    )
