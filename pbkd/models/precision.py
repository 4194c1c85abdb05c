"""The precision of the training loops: float32, or autocast to a 16-bit type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["AUTOCAST", "Autocast", "autocast", "pick_dtype", "slowness"]

AUTOCAST = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# A processor with any of these, x86 or Arm, computes in bfloat16.
_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Select the type that the option `autocast` names.

    Args:
        name: A key of `AUTOCAST`. fp16 needs an accelerator: CPUs have no fast kernels for it.
        device: The device to compute on.

    Returns:
        The type.

    Raises:
        ConfigError: If the device does not support it.
    """
    dtype = AUTOCAST[name]
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("'autocast' is fp16, which is slow on a CPU: use bf16 or none.")
    if name != "none" and not torch.amp.is_autocast_available(device.type):
        raise ConfigError(f"'autocast' is {name}, which {device.type} does not have: use none.")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("'autocast' is bf16, which this GPU does not have: use fp16 or none.")
    return dtype


def slowness(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return a note if this processor has no instructions for a type; else None."""
    query = getattr(torch.cpu, "get_capabilities", dict)  # an older torch has no such function
    capabilities: dict[str, bool] = query()
    if device.type != "cpu" or dtype != torch.bfloat16 or not capabilities:
        return None
    if any(present for name, present in capabilities.items() if name in _BF16):
        return None
    return (
        "This processor has no instructions for bfloat16: autocast=bf16 takes several times as long"
        " as autocast=none."
    )


class Autocast(nn.Module):
    """A module whose operations run in `dtype` where torch's autocast considers that safe.

    Its output has that type; its weights keep theirs.
    """

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        """Wrap `inner`."""
        super().__init__()
        self.inner = inner
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner module's output, as `dtype`."""
        with torch.autocast(x.device.type, self.dtype):
            output: Tensor = self.inner(x).to(self.dtype)
        return output


def autocast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Wrap a module in autocast to `dtype`; return it unchanged for float32."""
    return module if dtype == torch.float32 else Autocast(module, dtype)
