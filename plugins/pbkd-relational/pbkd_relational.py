"""Relational distillation: distances and angles between the outputs of a batch's samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from pbkd import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss

PBKD_CONTRACT = 2

_TINY = 1e-12
_ROUNDING = 1e-5  # of the mean squared distance


@dataclass(frozen=True)
class Relational:
    """Relative squared error, plus the differences of distances and of angles between samples.

    Distances between two samples are divided by their mean over the batch; an angle is the cosine
    at one sample between two others. Both are compared by Huber's loss (RKD, Park et al., CVPR
    2019, arXiv 1904.05068).

    Args:
        distance: Weight of the distances.
        angle: Weight of the angles; their number grows with the cube of the batch size.
    """

    name: ClassVar[str] = "relational"
    additive: ClassVar[bool] = False
    distance: float = 1.0
    angle: float = 2.0

    def __post_init__(self) -> None:
        """Check the options."""
        if self.distance < 0 or self.angle < 0:
            raise ValueError("distance and angle must be at least 0")

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a whole batch.

        Args:
            output: The replacement's output, of shape (batch, ...).
            target: The block's output, of the same shape.
        """
        mine, theirs = _rows(output), _rows(target)
        value = (mine - theirs).square().mean() / theirs.square().mean().clamp_min(_TINY)
        products, expected = _products(mine), _products(theirs)
        lengths, expected_lengths = _lengths(products), _lengths(expected)
        if self.distance:
            value = value + self.distance * functional.smooth_l1_loss(
                _over_mean(lengths), _over_mean(expected_lengths)
            )
        if self.angle:
            value = value + self.angle * functional.smooth_l1_loss(
                _cosines(products, lengths), _cosines(expected, expected_lengths)
            )
        return value


def _rows(x: Tensor) -> Tensor:
    return x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))


def _products(x: Tensor) -> Tensor:
    """Return the scalar products of all pairs of rows, (B, B), around the rows' mean."""
    centred = x - x.mean(0)
    return centred @ centred.T


def _lengths(products: Tensor) -> Tensor:
    """Return the distances of all pairs of rows, (B, B); 0 for rows that rounding cannot tell."""
    own = products.diagonal()
    squares = own[:, None] + own[None, :] - 2 * products
    apart = squares > _ROUNDING * squares.mean()
    return squares.clamp_min(_TINY).sqrt() * apart


def _over_mean(lengths: Tensor) -> Tensor:
    pairs = max(1, len(lengths) * (len(lengths) - 1))
    return lengths / (lengths.sum() / pairs).clamp_min(_TINY)


def _cosines(products: Tensor, lengths: Tensor) -> Tensor:
    """Return the cosine at row j between rows i and k, (B, B, B) as [j, i, k]."""
    own = products.diagonal()
    to_other = products[None, :, :] - products[:, :, None] - products[:, None, :]
    scalar = to_other + own[:, None, None]
    sides = lengths[:, :, None] * lengths[:, None, :]
    return scalar * (sides > 0) / sides.clamp_min(_TINY)


@hookimpl
def register_losses() -> list[type[Loss]]:
    """Register the loss `relational`."""
    return [Relational]
