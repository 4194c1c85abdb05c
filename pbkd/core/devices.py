"""What host and workers need before they start: teacher, data, chain."""

from __future__ import annotations

import torch

from pbkd.errors import ConfigError

__all__ = ["pick_device"]


def pick_device(wanted: str) -> str:
    """Turn `auto` into the accelerator's type, or cpu; raise `ConfigError` for a missing one."""
    if wanted == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found.type if found else "cpu"
    missing = (wanted == "cuda" and not torch.cuda.is_available()) or (
        wanted == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"'device' is {wanted}, which this machine does not have: use cpu.")
    return wanted
