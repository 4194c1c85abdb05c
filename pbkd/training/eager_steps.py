"""Steps of torch's optimisers without torch's compiler, see `pbkd.core.compiler`."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import torch
from torch.optim import Optimizer

from pbkd.core.compiler import is_compiler_loaded, without_compiler

__all__ = ["build_without_compiler", "step_without_compiler"]

_HIDDEN = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def build_without_compiler() -> None:
    """Let optimisers be built, and their state be read and set, without importing the compiler."""
    for name in _HIDDEN:
        without_compiler(getattr(Optimizer, name))


def step_without_compiler(optimiser: Optimizer) -> None:
    """Let an optimiser of torch take its steps without importing the compiler; hooks are called.

    Args:
        optimiser: The optimiser; one of another package stays as it is.
    """
    kind = type(optimiser)
    if is_compiler_loaded() or not kind.__module__.startswith("torch.optim."):
        return
    update: Any = inspect.unwrap(kind.step)

    def step(self: Optimizer, *arguments: Any) -> Any:
        with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            return update(self, *arguments)

    optimiser.step = MethodType(Optimizer.profile_hook_step(step), optimiser)  # type: ignore[method-assign]
