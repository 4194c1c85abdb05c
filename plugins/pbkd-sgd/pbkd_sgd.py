"""The optimiser `sgd`, as torch has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from pbkd.protocols import OptimiserBuilder

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class SgdBuilder:
    """Stochastic gradient descent, by default with Nesterov momentum 0.9.

    The defaults are those with which networks for CIFAR and ImageNet are usually trained (He et al.
    2015, arXiv 1512.03385).

    Args:
        momentum: Decay of the running sum of gradients, at least 0.
        nesterov: Whether the momentum is Nesterov's.
    """

    name: ClassVar[str] = "sgd"
    momentum: float = 0.9
    nesterov: bool = True

    def __post_init__(self) -> None:
        """Check that there is momentum for Nesterov's rule."""
        if self.nesterov and self.momentum == 0:
            raise ConfigError("momentum=0 has no Nesterov momentum: set nesterov=false.")

    def build(
        self, parameters: Sequence[nn.Parameter], lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Build torch's SGD, fused where torch has a fused kernel."""
        return torch.optim.SGD(
            parameters,
            lr=lr,
            weight_decay=weight_decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=parameters[0].device.type in ("cpu", "cuda"),
        )


@hookimpl
def register_optimisers() -> list[type[OptimiserBuilder]]:
    """Register the optimiser `sgd`."""
    return [SgdBuilder]
