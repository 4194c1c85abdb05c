"""Attention transfer (Zagoruyko and Komodakis 2017), beside the output's squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional

from pbkd import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd import LossContext

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class Attention:
    """Squared error, plus the distance of normalised maps of squared activations.

    Args:
        beta: Weight of the maps; it falls to zero over `epochs` epochs.
        epochs: Epochs with maps.
    """

    name: ClassVar[str] = "attention"
    beta: float = 10.0
    epochs: int = 3

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Return the mean over the batch."""
        error = functional.mse_loss(output, target)
        beta = self.beta * max(0.0, 1 - context.epoch / self.epochs)
        if output.ndim < 3 or not beta:
            return error
        maps = (_attention(output) - _attention(target)).square().sum(1)
        return error + beta * maps.mean()


def _attention(activation: Tensor) -> Tensor:
    return functional.normalize(activation.square().mean(1).flatten(1), eps=1e-6)


@hookimpl
def register_losses() -> list[type[Attention]]:
    """Register the loss `attention`."""
    return [Attention]
