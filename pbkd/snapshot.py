"""The whole state of a training, as tensors and plain facts, and back again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.distill import Trainee

__all__ = ["Facts", "restore", "snapshot", "tensors_below"]

Facts = dict[str, Any]


def snapshot(training: Trainee) -> tuple[dict[str, Tensor], Facts]:
    """Return what `restore` needs; the tensors are the training's own, not copies."""
    tensors = {
        f"network.{name}": tensor for name, tensor in training.replacement.state_dict().items()
    }
    for index, moments in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": moment for key, moment in moments.items()}
    facts = {"rate_steps": training.rate.last_epoch, "scaler": training.scaler.state_dict()}
    return tensors, facts


def restore(tensors: Mapping[str, Tensor], facts: Facts, training: Trainee) -> None:
    """Put a training into the state of a snapshot: what follows is the same, bit by bit."""
    optimiser = training.optimiser
    training.replacement.load_state_dict(tensors_below(tensors, "network."))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state = optimiser.state_dict()
    state["state"] = {}
    for key, saved in tensors_below(tensors, "optimiser.").items():
        index, moment = key.split(".", 1)
        of_parameter = state["state"].setdefault(int(index), {})
        of_parameter[moment] = _laid_out(saved, parameters[int(index)])
    optimiser.load_state_dict(state)
    _set_rate(optimiser, training.rate, facts["rate_steps"])
    if facts["scaler"]:
        training.scaler.load_state_dict(facts["scaler"])


def tensors_below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _laid_out(saved: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment in its parameter's memory layout: fused kernels walk through both at once."""
    if saved.shape != parameter.shape:
        return saved
    return torch.empty_like(parameter, dtype=saved.dtype).detach().copy_(saved)


def _set_rate(
    optimiser: torch.optim.Optimizer, rate: torch.optim.lr_scheduler.LRScheduler, steps: int
) -> None:
    assert isinstance(rate, torch.optim.lr_scheduler.LambdaLR)
    rate.last_epoch = steps
    rates = [base * factor(steps) for base, factor in zip(rate.base_lrs, rate.lr_lambdas)]  # noqa: B905
    for group, value in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = value
