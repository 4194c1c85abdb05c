"""Conformance tests of losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.protocols import LossContext
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.loss_trial import try_loss
from pbkd.training.losses import check_declaration

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import Loss

__all__ = ["apply_loss", "check_loss"]

_SHAPES = ((8, 3, 5, 5), (8, 7))  # feature maps; logits
_STEP = 1e-3  # relative step against the gradient


def apply_loss(
    loss: Loss, output: Tensor, target: Tensor, context: LossContext | None = None
) -> Tensor:
    """Return a loss as a run computes it: its error over its scale, if it has one.

    Args:
        loss: The loss.
        output: The output of a network in training, (B, …).
        target: The teacher's output, of the same shape.
        context: What a loss gets that asks for it; None for a context with the output as input.

    Raises:
        PluginError: The loss fails, or returns something else than a scalar.
    """
    applied = AppliedLoss(loss)
    if context is None and applied.takes_context:
        context = _context(applied, output)
    return applied(output, target, context)


def check_loss(loss: Loss) -> None:
    """Check that a loss is finite, depends on its arguments alone, and can be lowered.

    The loss must be a scalar, minimal for a perfect output, finite with finite gradients for
    all-zero activations, and, unless it declares `additive = False`, equal to the mean of its
    values on the parts of a batch. It must not change its inputs, keep anything between calls, or
    draw random numbers from torch's global generator. It is tested on feature maps, (8, 3, 5, 5),
    and logits, (8, 7).

    Args:
        loss: The loss.

    Raises:
        AssertionError: If the loss cannot be lowered.
        PluginError: If it breaks its protocol, as a run would say.
    """
    check_declaration(loss)
    for shape in _SHAPES:
        output, target = _drawn(shape, 0), _drawn(shape, 1)
        applied = AppliedLoss(loss)
        try_loss(applied, output, target, _context(applied, output))
        assert apply_loss(loss, target.clone(), target) < apply_loss(loss, output, target), (
            "the loss of a perfect output is not below the loss of another"
        )
        _check_gradient(loss, output, target)
        for zeros in ((output * 0, target), (output, target * 0), (output * 0, target * 0)):
            assert bool(_gradient(loss, *zeros).isfinite().all()), (
                "the gradient is not finite for all-zero activations, as from dead ReLUs"
            )


def _drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _context(applied: AppliedLoss, output: Tensor) -> LossContext | None:
    """Make a context whose features are feature maps; logits have labels that count up."""
    if not applied.takes_context:
        return None
    shape = (len(output), 4, 3, 3)
    mine = {name: _drawn(shape, 2).to(output) for name in applied.features}
    theirs = {name: _drawn(shape, 3).to(output) for name in applied.features}
    labels = torch.arange(len(output)) % output.shape[1] if output.ndim == 2 else None
    return LossContext(
        input=output.detach(),
        index=0,
        block="",
        epoch=0,
        features=mine,
        teacher_features=theirs,
        labels=labels,
    )


def _check_gradient(loss: Loss, output: Tensor, target: Tensor) -> None:
    gradient = _gradient(loss, output, target)
    assert bool(gradient.any()), "no gradient flows to the output"
    step = _STEP * output.norm() / gradient.norm() * gradient
    assert apply_loss(loss, output - step, target) < apply_loss(loss, output, target), (
        "a short step against the gradient does not lower the loss"
    )


def _gradient(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    leaf = output.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(apply_loss(loss, leaf, target), leaf)
    return gradient
