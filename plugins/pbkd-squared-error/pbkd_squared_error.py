"""Squared errors: plain, or relative to the square of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pbkd import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss

PBKD_CONTRACT = 2

_TINY = 1e-12


class _MeanSquaredError(torch.autograd.Function):
    """Mean squared error whose gradient has the output's memory format.

    The gradient of torch's own is contiguous, so that the backward pass of a channels-last network
    mixes two memory formats, six times slower on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, target: Tensor) -> Tensor:
        difference = output - target
        ctx.save_for_backward(difference)
        return _mean_square(difference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference.mul_(gradients[0] * (2 / difference.numel())), None


def _mean_square(x: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(x, dtype=wide)
    return norm.square() / x.numel()


def _square_sums(x: Tensor) -> Tensor:
    """Return the sum of squares of each row, in float32 at least: float16 would overflow."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide.square().flatten(1).sum(1)


@dataclass(frozen=True)
class SquaredError:
    """Mean squared error, as in the paper (arXiv 2012.03096)."""

    name: ClassVar[str] = "mse"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the squared differences."""
        value: Tensor = _MeanSquaredError.apply(output, target)
        return value


@dataclass(frozen=True)
class RelativeSquaredError(SquaredError):
    """Squared error, which the core divides by the target's mean square: 1 for zeros.

    One learning rate then suits blocks whose activations differ in scale.
    """

    name: ClassVar[str] = "nmse"

    def scale(self, target: Tensor) -> Tensor:
        """Return the mean square of the target."""
        return _mean_square(target)


@dataclass(frozen=True)
class RelativeSquaredErrorPerSample:
    """Relative squared error per sample, so that every image has the same weight."""

    name: ClassVar[str] = "nmse-per-sample"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over the rows of squared difference over squared target."""
        error = _square_sums(output - target)
        return (error / _square_sums(target).clamp_min(_TINY)).mean()


@hookimpl
def register_losses() -> list[type[Loss]]:
    """Register the losses `nmse`, `nmse-per-sample` and `mse`."""
    return [RelativeSquaredError, RelativeSquaredErrorPerSample, SquaredError]
