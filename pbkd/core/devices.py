"""The device that a run computes on."""

from __future__ import annotations

import torch

from pbkd.errors import ConfigError

__all__ = ["describe_device", "pick_device", "use_device"]


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
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(name):
        raise ConfigError(f"'device' is {name}, which this machine does not have: use cpu.")
    return name


def use_device(device: torch.device) -> None:
    """Make one of several accelerators the current one of this process; do nothing for a CPU.

    What names no device is then on it, such as NCCL's barrier; each process would else take memory
    on the first one, too.
    """
    if device.type != "cpu" and device.index is not None:
        torch.accelerator.set_device_index(device.index)


def describe_device(device: torch.device) -> str:
    """Name a device, and the model of a GPU, such as `cuda:0 (NVIDIA H200)`."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"
