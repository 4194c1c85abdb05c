"""The optimisers `adamw` and `sgd`, as torch has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class AdamW:
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
            fused=_has_fused_kernel(parameters),
        )


@dataclass(frozen=True)
class SGD:
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
            raise ConfigError("sgd with momentum=0 has no Nesterov momentum: set nesterov=false.")

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
            fused=_has_fused_kernel(parameters),
        )


def _has_fused_kernel(parameters: Sequence[nn.Parameter]) -> bool:
    return parameters[0].device.type in ("cpu", "cuda")


@hookimpl
def register_optimisers() -> list[type]:
    """Register the optimisers `adamw` and `sgd`."""
    return [AdamW, SGD]
