"""Optimisers and learning rate schedules of the training phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.optim import Optimizer


__all__ = ["LearningRateSchedule", "OptimiserBuilder"]


class OptimiserBuilder(Protocol):
    """Builds the optimiser of a network in training."""

    name: ClassVar[str]

    def build(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
    ) -> Optimizer:
        """Return the optimiser.

        Its state must be tensors and plain numbers, which checkpoints can hold.

        Called in every worker for each candidate that it trains, and in the host process for
        fine-tuning.

        Args:
            parameters: The network's parameters.
            lr: Peak learning rate.
            weight_decay: The configured weight decay.
        """
        ...


class LearningRateSchedule(Protocol):
    """Changes the learning rate from step to step."""

    name: ClassVar[str]

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the peak learning rate, from 0 to 1; it depends on nothing else.

        Called in every worker for each step, and in the host process for fine-tuning.

        Args:
            step: The step, from 0.
            steps: All steps of the training.
        """
        ...
