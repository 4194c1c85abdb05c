"""How far a replacement's output is from its block's; every loss is a mean over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["LOSSES", "soft_target_loss"]


_TINY = 1e-12


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, as in the paper (arXiv 2012.03096)."""
    return functional.mse_loss(output, target)


def nmse(output: Tensor, target: Tensor) -> Tensor:
    """Squared error over the target's squared norm: 1 for an output of zeros.

    One learning rate then fits blocks whose activations differ in scale.
    """
    return (output - target).square().sum() / target.square().sum().clamp_min(_TINY)


def nmse_per_sample(output: Tensor, target: Tensor) -> Tensor:
    """`nmse` of each sample, averaged: every image counts the same."""
    error = (output - target).square().flatten(1).sum(1)
    return (error / target.square().flatten(1).sum(1).clamp_min(_TINY)).mean()


def cosine(output: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine between each sample's output and target; blind to scale."""
    return 1 - functional.cosine_similarity(output.flatten(1), target.flatten(1), dim=1).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nmse": nmse,
    "nmse-per-sample": nmse_per_sample,
    "mse": mse,
    "cosine": cosine,
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
