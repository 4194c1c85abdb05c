"""Conformance tests of losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss

__all__ = ["check_loss"]

_SHAPES = ((8, 3, 5, 5), (8, 7))  # feature maps; logits
_STEP = 1e-3  # relative step against the gradient


def check_loss(loss: Loss) -> None:
    """Check that a loss is a finite mean over the batch that gradient descent lowers.

    The loss must be a scalar, minimal for a perfect output, finite with finite gradients for
    all-zero activations, and equal to the mean of its values on the parts of a batch. It must not
    change its inputs. It is tested on feature maps, (8, 3, 5, 5), and logits, (8, 7).

    Args:
        loss: The loss.

    Raises:
        AssertionError: If the loss breaks the contract.
    """
    for shape in _SHAPES:
        output, target = _drawn(shape, 0), _drawn(shape, 1)
        _check_value(loss, output, target)
        _check_mean(loss, output, target)
        _check_gradient(loss, output, target)
        for zeros in ((output * 0, target), (output, target * 0), (output * 0, target * 0)):
            assert bool(_gradient(loss, *zeros).isfinite().all()), (
                "the gradient is not finite for all-zero activations, as from dead ReLUs"
            )


def _drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _check_value(loss: Loss, output: Tensor, target: Tensor) -> None:
    before = output.clone(), target.clone()
    value = loss(output, target)
    assert torch.equal(output, before[0]), "the loss changes its output argument in place"
    assert torch.equal(target, before[1]), "the loss changes its target argument in place"
    assert value.shape == (), f"the loss has the shape {tuple(value.shape)}, not ()"
    assert bool(value.isfinite()), f"the loss is {value.item():g}"
    assert loss(target.clone(), target) < value, (
        "the loss of a perfect output is not below the loss of another"
    )


def _check_mean(loss: Loss, output: Tensor, target: Tensor) -> None:
    """Replicas and micro-batches each see a part of the batch, and parts may differ in scale."""
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
    leaf = output.clone().requires_grad_(True)
    value = loss(leaf, target)
    assert value.requires_grad, "no gradient flows to the output"
    (gradient,) = torch.autograd.grad(value, leaf)
    return gradient
