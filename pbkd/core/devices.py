"""The device that a run computes on."""

from __future__ import annotations

import torch

from pbkd.errors import ConfigError

__all__ = ["pick_device"]


def pick_device(name: str) -> str:
    """Resolve the configuration's `device`.

    Args:
        name: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        The type of the device; for `auto` the accelerator's if there is one, else `cpu`.

    Raises:
        ConfigError: This machine does not have the device.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator.type if accelerator else "cpu"
    missing = (name == "cuda" and not torch.cuda.is_available()) or (
        name == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"'device' is {name}, which this machine does not have: use cpu.")
    return name
