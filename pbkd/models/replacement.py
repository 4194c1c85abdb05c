"""Replacements: built by the builder, checked, weighed against their block, initialised."""

from __future__ import annotations

import math
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
from pbkd.plugin.attribution import failure_of, named

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


@dataclass(frozen=True)
class Proposal:
    """A block with its replacement, or with the reason why it keeps the teacher's segment.

    Parameters and MACs (of one sample) are the block's before and after; without a replacement
    both are the teacher's.
    """

    block: Block
    replacement: nn.Module | None
    reason: str | None
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int


def is_kept(name: str, patterns: Sequence[str]) -> bool:
    """Say whether a segment's name matches one of the shell-style `keep` patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def replaceable(chain: nn.Sequential, keep: Sequence[str]) -> list[str]:
    """Return the names of the segments that have parameters and match none of `keep`."""
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
    """Build a block's replacement; its random weights depend on (seed, block name) alone.

    Raises `PluginError` where the builder fails or changes the segment, or where its module maps to
    a wrong shape, changes its input or shares a tensor with the segment.
    """
    before = fingerprint(segment)
    # Decompositions round by the number of threads, and that of the host is no part of a run.
    with thread_count(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "replacement", block.name))
        try:
            replacement = builder.build(segment, block)
            if replacement is None:
                return None
            fault = _fault(replacement, segment, block)
        except PLUGIN_FAILURES as error:
            where = f"build on block '{block.name}'"
            raise PluginError(f"{failure_of('builder', builder, where, error)}.") from error
        finally:
            _check_segment(builder, segment, block, before)
    if fault:
        raise PluginError(
            f"{named('builder', builder)} gives block '{block.name}' a replacement {fault}."
        )
    return replacement.requires_grad_(True).to(memory_format=torch.channels_last)


def propose(builder: BlockBuilder, segment: nn.Module, block: Block, seed: int) -> Proposal:
    """Build a block's replacement and weigh it: one with no fewer MACs is not used."""
    before = parameters(segment), macs(segment, block.input_shape)
    replacement = build_replacement(builder, segment, block, seed)
    reason = f"'{builder.name}' finds nothing to replace"
    if replacement is not None:
        after = parameters(replacement), macs(replacement, block.input_shape)
        if after[1] < before[1]:
            return Proposal(block, replacement, None, before[0], after[0], before[1], after[1])
        reason = f"its replacement would be dearer ({after[1]:,} MACs against {before[1]:,})"
    return Proposal(block, None, reason, before[0], before[0], before[1], before[1])


def _check_segment(builder: BlockBuilder, segment: nn.Module, block: Block, before: str) -> None:
    if fingerprint(segment) != before:
        raise PluginError(
            f"{named('builder', builder)} changes the teacher's segment '{block.name}' in build: it"
            " must work on a copy."
        )


@torch.no_grad()
def _fault(replacement: nn.Module, segment: nn.Module, block: Block) -> str | None:
    """Say what is wrong with a replacement, if anything is."""
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
    """Fill a replacement with the weights that `folder` holds for its block."""
    path = folder / f"{name}.safetensors"
    fit_weights(replacement, read_weights(path), path)
    return replacement
