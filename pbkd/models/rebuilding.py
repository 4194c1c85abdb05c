"""Building a replacement again where the teacher's weights are not known, and whether it can be.

A worker builds it without calibration, and loading a student from a teacher with random weights;
the weights then come from a file.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.errors import PluginError
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.replacement import build_replacement
from pbkd.models.weights import differences, other_types
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from torch import Tensor

    from pbkd.core.blocks import Block
    from pbkd.protocols import BlockBuilder


__all__ = ["CURE", "check_rebuilding", "rebuild", "rebuilding_fault"]

CURE = (
    "return pbkd.Built(module, options) from build, with the options (such as ranks) that give the"
    " same module for all weights"
)
"""What the author of a builder is to do."""

_SEED = 1  # of other weights, and of the second building


def rebuild(builder: BlockBuilder, segment: nn.Module, block: Block, seed: int) -> nn.Module:
    """Build the replacement of a block again; its weights then come from a file.

    Args:
        builder: The builder, with the options that its `Built` had.
        segment: The teacher's segment.
        block: Its name and shapes.
        seed: The run's seed.

    Raises:
        PluginError: If the builder is faulty, or no longer replaces the block.
    """
    built = build_replacement(builder, segment, block, seed)
    if built is None:
        raise PluginError(
            f"{describe_strategy('builder', builder)} no longer replaces '{block.name}'."
        )
    return built.module


def check_rebuilding(
    replacement: nn.Module, builder: BlockBuilder, segment: nn.Module, block: Block
) -> None:
    """Build a replacement again, from other weights and without calibration, and compare.

    Args:
        replacement: The replacement.
        builder: The builder, with the options that its `Built` had.
        segment: The teacher's segment.
        block: Its name and shapes.

    Raises:
        PluginError: If the second replacement cannot take the first one's weights, or computes
            something else with them.
    """
    if fault := rebuilding_fault(replacement, builder, segment, block):
        raise PluginError(
            f"{describe_strategy('builder', builder)} gives block '{block.name}' a replacement that"
            f" cannot be loaded: built from other weights {fault}; {CURE}."
        )


def rebuilding_fault(
    replacement: nn.Module, builder: BlockBuilder, segment: nn.Module, block: Block
) -> str | None:
    """Describe how a replacement differs if it is built again from other weights.

    Args:
        replacement: The replacement.
        builder: The builder, with the options that its `Built` had.
        segment: The teacher's segment.
        block: Its name and shapes.

    Returns:
        The rest of a sentence such as "built from other weights it is missing"; None if the second
        replacement takes the first one's weights and computes the same with them.
    """
    try:
        built = build_replacement(builder, _with_other_weights(segment), block, _SEED)
    except PluginError as error:
        return f"it is not built at all ({str(error).rstrip('.')})"
    if built is None:
        return "it is missing, as build returns None"
    again, wanted = built.module, replacement.state_dict()
    found = again.state_dict()
    if misfits := differences(found, wanted) or other_types(found, wanted):
        return f"it has tensors of other names or shapes ({'; '.join(misfits)})"
    again.load_state_dict(wanted)
    if not _compute_the_same(replacement, again, block):
        return "it computes something else with the same weights, so that it needs further buffers"
    return None


def _with_other_weights(segment: nn.Module) -> nn.Module:
    """Copy a segment, with weights of other norms, signs and singular values."""
    other = copy.deepcopy(segment)
    generator = torch.Generator().manual_seed(_SEED)
    for parameter in other.parameters():
        if parameter.is_floating_point():
            rows = parameter.shape[:1] + (1,) * (parameter.dim() - 1)
            spread = torch.randn(rows, generator=generator).mul(2).exp()
            inputs = max(1, parameter.numel() // max(1, spread.numel()))
            values = torch.randn(parameter.shape, generator=generator) * spread / inputs**0.5
            parameter.data.copy_(values)
    for module in other.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
    return other


@torch.no_grad()
def _compute_the_same(first: nn.Module, second: nn.Module, block: Block) -> bool:
    """Whether two replacements have equal outputs for the same random inputs."""
    outputs: list[Tensor] = []
    for module in (first, second):
        with evaluation_mode(module), torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            x = torch.randn(2, *block.input_shape)
            outputs.append(module.cpu()(x))
    one, other = outputs
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)
