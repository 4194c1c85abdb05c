"""A trial of a loss on a few rows, before anything is trained with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.core.torch_modes import current_modes, kept_modes
from pbkd.errors import PLUGIN_FAILURES, PluginError, is_out_of_memory
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.training.applied_loss import needs_whole_batches

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.protocols import LossContext
    from pbkd.training.applied_loss import AppliedLoss


__all__ = ["try_loss"]

_WIDE = 4  # bytes of float32: shorter types overflow
_TOLERANCE = 1e-2  # relative; 16-bit activations are added up in another order


def try_loss(
    loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
) -> None:
    """Call a loss several times, and check that it keeps its protocol.

    Args:
        loss: The loss.
        output: Finite activations, (B, …).
        target: Of the same shape.
        context: What the loss gets beside them, if it asks.

    Raises:
        PluginError: If it fails, is not finite, changes its arguments, depends on anything else, or
            is not the mean over rows that it should be.
    """
    with kept_modes():
        fault = _fault(loss, output, target, context)
    if not fault and not needs_whole_batches(loss.loss):
        fault = _split_fault(loss, output, target, context)
    if fault:
        raise PluginError(f"{describe_strategy('loss', loss.loss)} is faulty: {fault}.")


def _fault(
    loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
) -> str | None:
    output = output.detach().requires_grad_(True) * 1  # no leaf, so that it can be changed in place
    before = output.detach().clone(), target.clone()
    drawn, modes = torch.get_rng_state(), current_modes()
    value, gradient = _value_and_gradient(loss, output, target, context)
    _value_and_gradient(loss, output.flip(0), target, context)
    again, _ = _value_and_gradient(loss, output, target, context)
    if not (torch.equal(output, before[0]) and torch.equal(target, before[1])):
        return "it changes an argument in place: let it work on a copy"
    if not torch.equal(torch.get_rng_state(), drawn):
        return "it draws from torch's global generator: give it a torch.Generator with a fixed seed"
    if current_modes() != modes:
        return "it leaves torch in another mode (gradients, default type or device): undo that"
    if output.element_size() >= _WIDE and not bool(value.isfinite()):
        return f"it is {value.item():g} for finite activations"
    if output.element_size() >= _WIDE and not bool(gradient.isfinite().all()):
        return "its gradient is not finite for finite activations"
    if not _close(value, again):
        return (
            f"it gives {value.item():g}, then {again.item():g} for the same activations: it must"
            " keep nothing between calls"
        )
    return None


def _value_and_gradient(
    loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
) -> tuple[Tensor, Tensor]:
    value = loss(output, target, context)
    try:
        (gradient,) = torch.autograd.grad(value, output, materialize_grads=True)
    except PLUGIN_FAILURES as error:
        if is_out_of_memory(error):
            raise
        failure = describe_failure("loss", loss.loss, "the gradient of error", error)
        raise PluginError(f"{failure}.") from error
    return value.detach(), gradient


def _split_fault(
    loss: AppliedLoss, output: Tensor, target: Tensor, context: LossContext | None
) -> str | None:
    """Describe how error or scale differ from the mean of their values on half batches."""
    half = len(output) // 2
    if not half:
        return None
    sizes = torch.linspace(0.5, 4, len(output), device=output.device)
    sizes = sizes.view(-1, *[1] * (output.ndim - 1)).to(output.dtype)
    output, target = sizes * output.detach(), sizes * target
    whole, *halves = slice(0, 2 * half), slice(0, half), slice(half, 2 * half)
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
    one, other = one.cpu().double(), other.cpu().double()  # not every accelerator has float64
    return torch.allclose(one, other, rtol=_TOLERANCE, atol=1e-6)
