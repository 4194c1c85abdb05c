"""Losses: a finite mean over the batch, least for a perfect output, whose gradient leads there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss

__all__ = ["check_loss"]

_SHAPES = ((8, 3, 5, 5), (8, 7))  # maps of a convolution, and the logits of a head
_STEP = 1e-3  # so short that any loss goes down along its gradient


def check_loss(loss: Loss) -> None:
    """The loss is a scalar, finite even for zeros, and a mean over the batch; its gradient helps.

    A perfect output has the least loss. Neither output nor target is changed.
    """
    for shape in _SHAPES:
        output, target = _drawn(shape, 0), _drawn(shape, 1)
        _check_value(loss, output, target)
        _check_mean(loss, output, target)
        _check_gradient(loss, output, target)
        for zeros in ((output * 0, target), (output, target * 0), (output * 0, target * 0)):
            assert bool(_gradient(loss, *zeros).isfinite().all()), (
                "the gradient is not finite where activations are all zero, as those of dead ReLUs"
            )


def _drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _check_value(loss: Loss, output: Tensor, target: Tensor) -> None:
    before = output.clone(), target.clone()
    value = loss(output, target)
    assert torch.equal(output, before[0]), "the loss changes the output that it is given"
    assert torch.equal(target, before[1]), "the loss changes the target that it is given"
    assert value.shape == (), f"the loss has the shape {tuple(value.shape)}, and is no scalar"
    assert bool(value.isfinite()), f"the loss is {value.item():g}"
    assert loss(target.clone(), target) < value, "a perfect output has no less loss than another"


def _check_mean(loss: Loss, output: Tensor, target: Tensor) -> None:
    """Workers that share a batch, and pieces of one, each see a part; parts may differ in scale."""
    sizes = torch.linspace(0.5, 4, len(output)).view(-1, *[1] * (output.ndim - 1))
    output, target = sizes * output, sizes * target
    halves = list(zip(output.chunk(2), target.chunk(2), strict=True))
    errors = [loss.error(*half) for half in halves]
    assert _is_mean(loss.error(output, target), errors), (
        "the error of a batch is not the mean of its halves' errors: use a scale for what is not"
    )
    if loss.scale is not None:
        scales = [loss.scale(wanted) for _, wanted in halves]
        assert _is_mean(loss.scale(target), scales), (
            "the scale of a batch is not the mean of its halves' scales"
        )


def _is_mean(whole: Tensor, parts: list[Tensor]) -> bool:
    return torch.allclose(whole, torch.stack(parts).mean(), rtol=1e-4, atol=1e-6)


def _check_gradient(loss: Loss, output: Tensor, target: Tensor) -> None:
    gradient = _gradient(loss, output, target)
    assert bool(gradient.any()), "no gradient flows to the output"
    step = _STEP * output.norm() / gradient.norm() * gradient
    assert loss(output - step, target) < loss(output, target), (
        "a short step against the gradient does not lower the loss"
    )


def _gradient(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    own = output.clone().requires_grad_(True)
    value = loss(own, target)
    assert value.requires_grad, "no gradient flows to the output"
    (gradient,) = torch.autograd.grad(value, own)
    return gradient
