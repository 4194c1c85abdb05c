"""Optimisers and learning rate schedules of the training phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from torch.optim import Optimizer


__all__ = ["LearningRateSchedule", "OptimiserBuilder"]


class OptimiserBuilder(Protocol):
    """Builds the optimiser of a network in training."""

    name: ClassVar[str]

    def build(
        self, parameters: Sequence[nn.Parameter], lr: float, weight_decay: float
    ) -> Optimizer:
        """Return an optimiser of all the parameters, whose `step` needs no closure.

        A checkpoint keeps its `state_dict()`: tensors, numbers, text and None in lists, tuples and
        dictionaries. From it training must continue bit by bit, so that nothing else may be kept
        between steps, and no random numbers may be drawn. Before a run this is tested with a small
        network. The schedule sets `lr` in the parameter groups before each step.

        Called in the host process in planning, once for the test and once for each candidate, and
        for fine-tuning; and in every worker for each candidate that it trains.

        Args:
            parameters: The network's parameters, on the device to train on; at least one.
            lr: Peak learning rate, `distill.lr` or `finetune.lr`.
            weight_decay: `distill.weight_decay` or `finetune.weight_decay`.
        """
        ...


class LearningRateSchedule(Protocol):
    """Changes the learning rate from step to step."""

    name: ClassVar[str]

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the peak learning rate, from 0 to 1.

        It must depend on the arguments alone: all workers, and a run that is resumed, ask for the
        same steps.

        Called in the host process in planning, for a check of the steps, and for each step of
        fine-tuning; and in every worker for each step of each candidate.

        Args:
            step: The step, from 0 to `steps` - 1.
            steps: All steps of the training.
        """
        ...
