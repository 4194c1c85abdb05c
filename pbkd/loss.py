"""What the whole student learns from its teacher's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["soft_target_loss"]


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
