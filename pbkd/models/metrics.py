"""Size of networks: parameters, bytes, multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.core.compiler import without_compiler
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.rounding import stored_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


__all__ = ["ModuleSize", "macs", "module_size", "parameters", "weight_bytes"]


@dataclass(frozen=True)
class ModuleSize:
    """Size of a module.

    Attributes:
        parameters: Its parameters.
        bytes: Bytes of its parameters and buffers, see `weight_bytes`.
        macs: Multiply-accumulates of a forward pass of one sample.
    """

    parameters: int
    bytes: int
    macs: int


def module_size(module: nn.Module, input_shape: Sequence[int]) -> ModuleSize:
    """Measure the size of a module.

    Args:
        module: The module.
        input_shape: The shape of one sample, without the batch dimension.
    """
    return ModuleSize(parameters(module), weight_bytes(module), macs(module, input_shape))


def parameters(module: nn.Module) -> int:
    """Count the parameters of a network, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def weight_bytes(module: nn.Module) -> int:
    """Count the bytes of a network's parameters and buffers; rounded ones by their bits."""
    tensors, rounded = module.state_dict(), stored_bits(module)
    bits: int = sum(t.numel() * rounded.get(name, 8 * t.itemsize) for name, t in tensors.items())
    return -(-bits // 8)


def macs(module: nn.Module, input_shape: Sequence[int]) -> int:
    """Count the multiply-accumulates (MACs) of one forward pass of one sample.

    Convolutions and matrix products are counted, by torch's own counter (one MAC is two
    operations); additions, normalisation, activation and pooling are not.

    Args:
        module: The network.
        input_shape: The shape of one sample, without the batch dimension.

    Returns:
        MACs per sample.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton, for a tenth of a second

    like = next(module.parameters(), torch.empty(0))
    sample = torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype)
    with evaluation_mode(module), FlopCounterMode(display=False) as counter:
        without_compiler(type(getattr(counter, "mode", counter)).__torch_dispatch__)
        module(sample)
    return int(counter.get_total_flops()) // 2
