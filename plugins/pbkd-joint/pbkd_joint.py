"""The loss of joint training: the errors of all segments' outputs, and the soft targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError
from pbkd.training import soft_target_loss

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss, LossContext

PBKD_CONTRACT = 2

_TINY = 1e-12


@dataclass(frozen=True)
class Joint:
    """Errors of all segments' outputs, and the teacher's soft targets.

    The error of an output is its squared distance from the teacher's, divided by the teacher's
    squared norm, per image. Gradients flow through the whole student, so that a block learns to
    correct the errors of those before it, which hints for one layer do not (Romero et al., ICLR
    2015, arXiv 1412.6550).

    Args:
        block_weight: Weight of the mean of the errors, at least 0.
        soft_weight: Weight of the soft targets (Hinton et al. 2015, arXiv 1503.02531), at least 0.
        temperature: What the logits are divided by before the softmax, above 0.
    """

    name: ClassVar[str] = "joint"
    features: ClassVar[tuple[str, ...]] = ("*",)
    block_weight: float = 100.0
    soft_weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        """Check the values."""
        for option in ("block_weight", "soft_weight"):
            value = getattr(self, option)
            if not 0 <= value < math.inf:
                raise ConfigError(f"{option} is {value}, but must be at least 0 and finite.")
        if self.block_weight == self.soft_weight == 0:
            raise ConfigError("block_weight and soft_weight are both 0: nothing would be learnt.")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature is {self.temperature}, but must be above 0 and finite.")

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Return the weighted sum for the logits, (B, classes), and the features."""
        theirs = context.teacher_features
        errors = [_relative_error(mine, theirs[name]) for name, mine in context.features.items()]
        blocks = torch.stack(errors).mean()
        soft = soft_target_loss(output, target, self.temperature)
        return self.block_weight * blocks + self.soft_weight * soft


def _relative_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the squared error over the squared norm of the target, averaged over the rows."""
    wide = torch.promote_types(output.dtype, torch.float32)
    error = (output - target).to(wide).square().flatten(1).sum(1)
    return (error / target.to(wide).square().flatten(1).sum(1).clamp_min(_TINY)).mean()


@hookimpl
def register_losses() -> list[type[Loss]]:
    """Register the loss `joint`."""
    return [Joint]
