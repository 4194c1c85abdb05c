"""How far a replacement's output is from its block's; every loss is a mean over the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOSSES", "Loss", "soft_target_loss"]


_TINY = 1e-12


@dataclass(frozen=True)
class Loss:
    """An error, averaged over the batch, in units of a scale that the target alone sets.

    Apart, both can be averaged over workers that share a batch, which their ratio cannot.
    """

    error: Callable[[Tensor, Tensor], Tensor]
    scale: Callable[[Tensor], Tensor] | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a whole batch, a scalar."""
        value = self.error(output, target)
        return value if self.scale is None else value / self.safe(self.scale(target))

    @staticmethod
    def safe(scale: Tensor) -> Tensor:
        """Return a scale that can be divided by, also where the target is all zeros."""
        return scale.clamp_min(_TINY)


class _MeanSquaredError(torch.autograd.Function):
    """Mean squared error whose gradient has the output's memory layout.

    torch's own gives it the contiguous one, so that everything behind it in a channels-last
    network walks two layouts at once, six times slower on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, target: Tensor) -> Tensor:
        difference = output - target
        ctx.save_for_backward(difference)
        return _mean_square(difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference.mul_(gradients[0] * (2 / difference.numel())), None


def _mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    value: Tensor = _MeanSquaredError.apply(output, target)
    return value


def _mean_square(x: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(x, dtype=wide)
    return norm.square() / x.numel()


def _relative_per_sample(output: Tensor, target: Tensor) -> Tensor:
    error = (output - target).square().flatten(1).sum(1)
    return (error / target.square().flatten(1).sum(1).clamp_min(_TINY)).mean()


def _angle(output: Tensor, target: Tensor) -> Tensor:
    return 1 - functional.cosine_similarity(output.flatten(1), target.flatten(1), dim=1).mean()


LOSSES: dict[str, Loss] = {
    # Squared error over the target's square: 1 for an output of zeros. One learning rate then
    # fits blocks whose activations differ in scale.
    "nmse": Loss(_mean_squared_error, _mean_square),
    # The same for each sample, averaged: every image counts alike.
    "nmse-per-sample": Loss(_relative_per_sample),
    # Mean squared error, as in the paper (arXiv 2012.03096).
    "mse": Loss(_mean_squared_error),
    # One minus the cosine between each sample's output and target; blind to scale.
    "cosine": Loss(_angle),
}


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened logits, times the squared temperature.

    Hinton et al. 2015, arXiv 1503.02531. Both logits are (batch, classes).
    """
    return (
        functional.kl_div(
            functional.log_softmax(student / temperature, dim=1),
            functional.log_softmax(teacher / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
        * temperature**2
    )
