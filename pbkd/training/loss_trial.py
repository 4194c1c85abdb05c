"""A trial of a loss on a few rows, before anything is trained with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.errors import PluginError
from pbkd.training.applied_loss import needs_whole_batches

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import LossContext
    from pbkd.training.applied_loss import AppliedLoss


__all__ = ["trial_fault"]

_TOLERANCE = 1e-2  # relative; 16-bit activations are added up in another order


def trial_fault(
    loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
) -> str | None:
    """Describe how a loss breaks its protocol on a batch; None if it does not.

    Args:
        loss: The loss.
        output: Finite activations, (B, …).
        target: Of the same shape.
        context: What the loss gets beside them, if it asks.
    """
    output = output.detach().requires_grad_(True) * 1  # what may be changed in place
    before = output.detach().clone(), target.clone()
    drawn = torch.get_rng_state()
    try:
        value = loss(output, target, context)
        _ = loss(output.flip(0), target, context)
        again = loss(output, target, context)
    except PluginError as error:
        return str(error).removesuffix(".")
    if not (torch.equal(output, before[0]) and torch.equal(target, before[1])):
        return "it changes an argument in place: let it work on a copy"
    if not torch.equal(torch.get_rng_state(), drawn):
        return "it draws from torch's global generator: give it a torch.Generator with a fixed seed"
    if not bool(value.isfinite()):
        return f"it is {value.item():g} for finite activations"
    if not _close(value, again):
        return (
            f"it gives {value.item():g}, then {again.item():g} for the same activations: it must"
            " keep nothing between calls"
        )
    return None if needs_whole_batches(loss.loss) else _split_fault(loss, output, target, context)


def _split_fault(
    loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
) -> str | None:
    """Describe how error or scale differ from the mean of their values on half batches."""
    sizes = torch.linspace(0.5, 4, len(output), device=output.device)
    sizes = sizes.view(-1, *[1] * (output.ndim - 1)).to(output.dtype)
    output, target = sizes * output.detach(), sizes * target
    half = len(output) // 2
    halves = slice(0, half), slice(half, 2 * half)
    whole = slice(0, 2 * half)
    error = loss.error(output[whole], target[whole], _rows(context, whole))
    errors = [loss.error(output[r], target[r], _rows(context, r)) for r in halves]
    if not _close(error, torch.stack(errors).mean()):
        return (
            "the error of a batch is not the mean of its halves' errors: take a mean over rows, use"
            " a scale, or declare additive = False"
        )
    scale = loss.scale(target[whole])
    scales = [part for r in halves if (part := loss.scale(target[r])) is not None]
    if scale is not None and not _close(scale, torch.stack(scales).mean()):
        return "the scale of a batch is not the mean of its halves' scales"
    return None


def _rows(context: LossContext | None, rows: slice) -> LossContext | None:
    if context is None:
        return None
    return replace(
        context,
        input=context.input[rows],
        features={name: feature[rows] for name, feature in context.features.items()},
        teacher_features={name: f[rows] for name, f in context.teacher_features.items()},
        labels=None if context.labels is None else context.labels[rows],
    )


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=_TOLERANCE, atol=1e-6)
