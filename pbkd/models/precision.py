"""The precision of the training loops: float32, or autocast to a 16-bit type."""

from __future__ import annotations

import copy
import math
import time
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.core.process import thread_count
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["AUTOCAST", "Autocast", "autocast", "frozen_autocast", "pick_dtype", "precision_note"]

AUTOCAST = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PASSES = 4
_CAST = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
"""Layers whose weights autocast rounds in every pass."""
_SLOWER, _FASTER = 1.1, 0.7


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


def precision_note(dtype: torch.dtype, device: torch.device, *, long: bool) -> str | None:
    """Return a note if this processor is faster with another value of `autocast`; else None.

    A convolution is timed in float32 and bfloat16, since processors with bfloat16 instructions
    may be slow, too.

    Args:
        dtype: What the training computes in.
        device: The device to compute on; accelerators are not timed.
        long: Whether the training is long enough for a second of timing to pay in float32.
    """
    full = dtype == torch.float32
    if device.type != "cpu" or (full and not long):
        return None
    times = _relative_time(torch.bfloat16)
    if full and times < _FASTER:
        return (
            f"This processor takes {times:.2f} times as long for a convolution in bfloat16 as in"
            " float32: autocast=bf16 is likely to be faster."
        )
    if full or times <= _SLOWER:
        return None
    return (
        f"This processor takes {times:.1f} times as long for a convolution in bfloat16 as in"
        " float32: autocast=none is faster than autocast=bf16."
    )


@cache
def _relative_time(dtype: torch.dtype) -> float:
    """Time a convolution of usual size on one thread: its fastest pass over float32's."""
    types = (dtype, torch.float32)
    convolutions = [nn.Conv2d(64, 64, 3, padding=1, bias=False, dtype=kind) for kind in types]
    images = torch.ones(8, 64, 56, 56).to(memory_format=torch.channels_last)
    inputs = [images.to(kind) for kind in types]
    fastest = [math.inf, math.inf]
    with torch.no_grad(), thread_count(1):
        for _ in range(_PASSES):
            for kind, convolution in enumerate(convolutions):
                start = time.perf_counter()
                convolution(inputs[kind])
                fastest[kind] = min(fastest[kind], time.perf_counter() - start)
    return fastest[0] / fastest[1]


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


def frozen_autocast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Wrap a copy of a module that is not trained in autocast, with its weights rounded once.

    Its outputs have the same bits as with `autocast`, which rounds them in every pass.
    """
    if dtype == torch.float32:
        return module
    rounded = copy.deepcopy(module)
    for layer in rounded.modules():
        if type(layer) in _CAST:
            layer.to(dtype)
    return Autocast(rounded, dtype)
