"""The loss of fine-tuning: the teacher's soft targets, and cross-entropy with the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional

from pbkd import hookimpl
from pbkd.errors import ConfigError
from pbkd.training import soft_target_loss

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss, LossContext

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class SoftTarget:
    """Soft targets and cross-entropy with the labels (Hinton et al. 2015, arXiv 1503.02531).

    Args:
        temperature: What the logits are divided by before the softmax, above 0.
        soft_weight: Weight of the soft targets, between 0 and 1; the rest is cross-entropy with the
            labels. Without labels it is 1.
    """

    name: ClassVar[str] = "soft-target"
    temperature: float = 4.0
    soft_weight: float = 0.9

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature is {self.temperature}, but must be above 0 and finite.")
        if not 0 <= self.soft_weight <= 1:
            raise ConfigError(f"soft_weight is {self.soft_weight}, but must be between 0 and 1.")

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Return the weighted sum of both losses of the logits, (B, classes)."""
        soft = soft_target_loss(output, target, self.temperature)
        if self.soft_weight == 1 or context.labels is None:
            return soft
        hard = functional.cross_entropy(output, context.labels)
        return self.soft_weight * soft + (1 - self.soft_weight) * hard


@hookimpl
def register_losses() -> list[type[Loss]]:
    """Register the loss `soft-target`."""
    return [SoftTarget]
