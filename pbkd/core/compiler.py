"""torch's compiler, left out where nothing is compiled: its import takes more than a second."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["is_compiler_loaded", "without_compiler"]

_NOTE = "__dynamo_disable"
"""Where the wrapper of `torch._disable_dynamo` keeps what it calls (torch 2.6 and later)."""


def is_compiler_loaded() -> bool:
    """Whether torch's compiler has been imported, as `torch.compile` does."""
    return sys.modules.get("torch._dynamo") is not None


def without_compiler(function: Callable[..., Any]) -> None:
    """Let a function that torch hides from its compiler run without importing the compiler.

    The wrapper that hides it imports the compiler at the first call. It still does so, and works as
    ever, from when anything else has imported the compiler; any other function stays as it is.

    Args:
        function: The function of torch, such as `torch.optim.Optimizer.zero_grad`.
    """
    hidden = getattr(function, "__wrapped__", None)
    if hidden is None or hasattr(hidden, _NOTE):
        return

    def call(*arguments: Any, **options: Any) -> Any:
        if not is_compiler_loaded():
            return hidden(*arguments, **options)
        if getattr(hidden, _NOTE, None) is call:
            delattr(hidden, _NOTE)
        return function(*arguments, **options)

    setattr(hidden, _NOTE, call)
