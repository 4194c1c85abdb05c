"""The optimiser `adamw`, as torch has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from pbkd.protocols import OptimiserBuilder

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class AdamWBuilder:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).

    Args:
        betas: Decay of the running means of the gradient and of its square, in [0, 1).
        eps: Added to the denominator, at least 0.
    """

    name: ClassVar[str] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def build(
        self, parameters: Sequence[nn.Parameter], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Build torch's AdamW, fused where torch has a fused kernel."""
        return torch.optim.AdamW(
            parameters,
            lr=lr,
            weight_decay=weight_decay,
            betas=self.betas,
            eps=self.eps,
            fused=parameters[0].device.type in ("cpu", "cuda"),
        )


@hookimpl
def register_optimisers() -> list[type[OptimiserBuilder]]:
    """Register the optimiser `adamw`."""
    return [AdamWBuilder]
