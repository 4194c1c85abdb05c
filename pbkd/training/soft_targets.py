"""The soft-target loss of knowledge distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["soft_target_loss"]


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened logits, times the squared temperature.

    From Hinton et al. 2015, arXiv 1503.02531.

    Args:
        student: The student's logits, (B, classes).
        teacher: The teacher's logits, (B, classes).
        temperature: What both are divided by before the softmax.

    Returns:
        The mean over the batch, in nats: a scalar.
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
