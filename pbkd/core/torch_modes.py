"""The ambient modes of torch: gradients, default type and device, autocast, and others."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["current_modes", "kept_modes", "ordinary_modes"]

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def ordinary_modes() -> Iterator[None]:
    """Run with torch's modes as in a new process; the caller's modes are the same afterwards.

    Gradients are on, inference mode, autocast and anomaly detection off, the default type is
    float32, and the default device the CPU. Deterministic algorithms stay on, but an operation
    without one is no error.
    """
    with ExitStack() as modes:
        modes.enter_context(kept_modes())
        modes.enter_context(torch.inference_mode(mode=False))
        modes.enter_context(torch.enable_grad())
        modes.enter_context(torch.autograd.set_detect_anomaly(mode=False))
        for device in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                modes.enter_context(torch.autocast(device, enabled=False))
        torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        if torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(mode=True, warn_only=True)
        yield


@contextmanager
def kept_modes() -> Iterator[None]:
    """Undo what code of a user sets for the whole process: gradients, default type and device."""
    gradients = torch.is_grad_enabled()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    deterministic = torch.get_deterministic_debug_mode()
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_deterministic_debug_mode(deterministic)


def current_modes() -> tuple[object, ...]:
    """Return the modes that `kept_modes` keeps, to be compared."""
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_deterministic_debug_mode(),
    )
