"""Attention transfer: where in the image activations are large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from pbkd import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd import LossContext
    from pbkd.protocols import Loss

PBKD_CONTRACT = 2

_TINY = 1e-12


@dataclass(frozen=True)
class AttentionTransfer:
    """Relative squared error per sample, plus the distance of attention maps.

    An attention map is the sum over channels of the activations' powers, divided by its norm
    (Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928). Maps are compared by squared distance.

    Args:
        weight: Weight of the attention maps, of which the method takes half (its beta).
        power: Power of the absolute activations.
        features: Modules inside the block whose maps are compared too, besides the output's.
    """

    name: ClassVar[str] = "attention-transfer"
    weight: float = 1.0
    power: float = 2.0
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the options."""
        if self.weight < 0 or self.power < 1:
            raise ValueError("weight must be at least 0, and power at least 1")

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        """Return the mean over the samples.

        Args:
            output: The replacement's output, of shape (batch, ...).
            target: The block's output, of the same shape.
            context: Has the features.
        """
        pairs = [(output, target)]
        for name in self.features:
            mine, theirs = context.features[name], context.teacher_features[name]
            if mine.shape[2:] != theirs.shape[2:]:
                raise ValueError(
                    f"'{name}' gives maps of {tuple(mine.shape[2:])} here, and of"
                    f" {tuple(theirs.shape[2:])} in the teacher: choose another feature"
                )
            pairs.append((mine, theirs))
        apart = torch.stack([self._distance(*pair) for pair in pairs]).sum()
        return _squared_error(output, target) + self.weight / 2 * apart

    def _distance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the squared distance of two attention maps, averaged over the samples."""
        difference = self._attention(output) - self._attention(target)
        return difference.square().sum(1).mean()

    def _attention(self, x: Tensor) -> Tensor:
        powers = _wide(x).abs().pow(self.power).mean(1).reshape(len(x), -1)
        return functional.normalize(powers, dim=1)


def _squared_error(output: Tensor, target: Tensor) -> Tensor:
    error = _wide(output - target).square().flatten(1).sum(1)
    return (error / _wide(target).square().flatten(1).sum(1).clamp_min(_TINY)).mean()


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


@hookimpl
def register_losses() -> list[type[Loss]]:
    """Register the loss `attention-transfer`."""
    return [AttentionTransfer]
