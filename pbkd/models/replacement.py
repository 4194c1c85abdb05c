"""Replacements: building, checks, comparison with their block, initial weights."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pbkd.core.process import thread_count
from pbkd.core.seeding import derive_seed
from pbkd.errors import PLUGIN_FAILURES, PluginError
from pbkd.models.metrics import macs, parameters
from pbkd.models.weights import fingerprint, fit_weights, read_weights
from pbkd.plugin.attribution import describe_failure, describe_strategy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import BlockBuilder


__all__ = [
    "Proposal",
    "build_replacement",
    "builder_choices",
    "create_builders",
    "is_kept",
    "propose",
    "read_replacement",
    "replaceable",
]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A block with its replacement, or with the reason why it keeps the teacher's segment.

    Attributes:
        block: The block.
        replacement: Its replacement; None if it keeps the teacher's segment.
        reason: Why it does; None with a replacement.
        parameters_before: Parameters of the teacher's segment.
        parameters_after: Parameters of the replacement, or of the segment that is kept.
        macs_before: MACs per sample of the teacher's segment.
        macs_after: MACs per sample of the replacement, or of the segment that is kept.
        seconds: Seconds of building it.
    """

    block: Block
    replacement: nn.Module | None
    reason: str | None
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    seconds: float


def is_kept(name: str, patterns: Sequence[str]) -> bool:
    """Whether a segment's name matches one of the shell-style `keep` patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def replaceable(chain: nn.Sequential, keep: Sequence[str]) -> list[str]:
    """List the segments that have parameters and match none of the `keep` patterns."""
    return [
        name
        for name, segment in chain.named_children()
        if parameters(segment) and not is_kept(name, keep)
    ]


def builder_choices(builder: dict[str, Any], candidates: Sequence[Any]) -> list[dict[str, Any]]:
    """List the choices of all builders of a run.

    Args:
        builder: The configuration's `builder`.
        candidates: The configuration's `candidates`: names, or names with options.

    Returns:
        A name with options each: `builder` first.
    """
    return [builder, *(c if isinstance(c, dict) else {"name": c} for c in candidates)]


def create_builders(registry: Registry, choices: Sequence[dict[str, Any]]) -> list[BlockBuilder]:
    """Create the builders of `builder_choices`."""
    return [registry.create("builder", choice) for choice in choices]


def build_replacement(
    builder: BlockBuilder, segment: nn.Module, block: Block, seed: int
) -> nn.Module | None:
    """Build a block's replacement and check it.

    Its random weights depend on (seed, block name) alone.

    Args:
        builder: Builds the replacement.
        segment: The teacher's segment.
        block: Its name and shapes.
        seed: The run's seed.

    Returns:
        The replacement, with gradients and channels-last; None if the builder has none.

    Raises:
        PluginError: If the builder raises or changes the segment; or if the replacement has a wrong
            output shape, changes its input, or shares a tensor with the segment.
    """
    before = fingerprint(segment)
    # The rounding of decompositions depends on the number of threads; a run must not.
    with thread_count(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "replacement", block.name))
        try:
            replacement = builder.build(segment, block)
            if replacement is None:
                return None
            fault = _fault(replacement, segment, block)
        except PLUGIN_FAILURES as error:
            where = f"build on block '{block.name}'"
            raise PluginError(f"{describe_failure('builder', builder, where, error)}.") from error
        finally:
            _check_segment(builder, segment, block, before)
    if fault:
        raise PluginError(
            f"{describe_strategy('builder', builder)} gives block '{block.name}' a replacement"
            f" {fault}."
        )
    return replacement.requires_grad_(True).to(memory_format=torch.channels_last)


def propose(builder: BlockBuilder, segment: nn.Module, block: Block, seed: int) -> Proposal:
    """Build a block's replacement; drop it if it does not have fewer MACs.

    Args:
        builder: Builds the replacement.
        segment: The teacher's segment.
        block: Its name and shapes.
        seed: The run's seed.

    Raises:
        PluginError: If the builder or its replacement is faulty.
    """
    parameters_before, macs_before = parameters(segment), macs(segment, block.input_shape)
    parameters_after, macs_after = parameters_before, macs_before
    start = time.perf_counter()
    replacement = build_replacement(builder, segment, block, seed)
    seconds = time.perf_counter() - start
    reason: str | None = f"'{builder.name}' finds nothing to replace"
    if replacement is not None:
        candidate_macs = macs(replacement, block.input_shape)
        if candidate_macs < macs_before:
            reason = None
            parameters_after, macs_after = parameters(replacement), candidate_macs
        else:
            replacement = None
            reason = (
                f"its replacement would need more MACs ({candidate_macs:,} against {macs_before:,})"
            )
    return Proposal(
        block=block,
        replacement=replacement,
        reason=reason,
        parameters_before=parameters_before,
        parameters_after=parameters_after,
        macs_before=macs_before,
        macs_after=macs_after,
        seconds=seconds,
    )


def _check_segment(builder: BlockBuilder, segment: nn.Module, block: Block, before: str) -> None:
    if fingerprint(segment) != before:
        raise PluginError(
            f"{describe_strategy('builder', builder)} changes the teacher's segment"
            f" '{block.name}' in build: it must work on a copy."
        )


@torch.no_grad()
def _fault(replacement: nn.Module, segment: nn.Module, block: Block) -> str | None:
    """Describe what is wrong with a replacement; None if nothing is."""
    if not isinstance(replacement, nn.Module):
        return f"that is a {type(replacement).__name__}, not a torch module"
    theirs = {tensor.data_ptr() for tensor in (*segment.parameters(), *segment.buffers())}
    mine = (*replacement.parameters(), *replacement.buffers())
    if any(tensor.numel() and tensor.data_ptr() in theirs for tensor in mine):
        return "that shares a tensor with the teacher's segment: it must work on a copy"
    x = torch.linspace(-1, 1, math.prod(block.input_shape)).reshape(1, *block.input_shape)
    passed = x.clone()
    was_training = replacement.training
    output = replacement.eval()(passed)
    replacement.train(was_training)
    if not isinstance(output, Tensor):
        return f"that gives a {type(output).__name__}, not one tensor"
    if output.shape[1:] != block.output_shape:
        return f"with output shape {tuple(output.shape[1:])} instead of {block.output_shape}"
    return None if torch.equal(passed, x) else "that changes its input in place"


def read_replacement(folder: Path, replacement: nn.Module, name: str) -> nn.Module:
    """Load a replacement's weights from `folder/NAME.safetensors`.

    Returns:
        The replacement itself.

    Raises:
        WeightsError: If the file is missing, damaged or of another shape.
    """
    path = folder / f"{name}.safetensors"
    fit_weights(replacement, read_weights(path), path)
    return replacement
