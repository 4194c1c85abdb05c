"""Replacements: built by the builder, checked, weighed against their block, initialised."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pbkd.errors import PluginError
from pbkd.measure import macs, parameters
from pbkd.options import chosen
from pbkd.seed import derive_seed
from pbkd.weights import fit_weights, read_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.config import RunConfig
    from pbkd.plan import Block
    from pbkd.protocols import BlockBuilder
    from pbkd.registry import Registry

__all__ = [
    "Proposal",
    "build_replacement",
    "builder_choices",
    "builders_of",
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


def builder_choices(config: RunConfig) -> list[dict[str, Any]]:
    """Return the choices of all builders: the run's own, then those of its candidates."""
    named = (c if isinstance(c, dict) else {"name": c} for c in config.candidates)
    return [config.builder, *named]


def builders_of(config: RunConfig, registry: Registry) -> list[BlockBuilder]:
    """Return all builders of a run, each with its options."""
    return [chosen(registry, "builder", choice) for choice in builder_choices(config)]


def build_replacement(
    builder: BlockBuilder, segment: nn.Module, block: Block, seed: int
) -> nn.Module | None:
    """Build a block's replacement; its random weights depend on (seed, block name) alone.

    Raises `PluginError` where the builder fails, or its module maps to a wrong shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "replacement", block.name))
        try:
            replacement = builder.build(segment, block)
            if replacement is None:
                return None
            shape = _output_shape(replacement, block)
        except Exception as error:
            raise PluginError(
                f"the builder '{builder.name}' fails on block '{block.name}':"
                f" {type(error).__name__}: {error}"
            ) from error
    if shape != block.output_shape:
        raise PluginError(
            f"the builder '{builder.name}' gives block '{block.name}' a replacement with output"
            f" shape {shape} instead of {block.output_shape}."
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


@torch.no_grad()
def _output_shape(replacement: nn.Module, block: Block) -> tuple[int, ...]:
    was_training = replacement.training
    output = replacement.eval()(torch.zeros(1, *block.input_shape))
    replacement.train(was_training)
    return tuple(output.shape[1:])


def read_replacement(folder: Path, replacement: nn.Module, name: str) -> nn.Module:
    """Fill a replacement with the weights that `folder` holds for its block."""
    path = folder / f"{name}.safetensors"
    fit_weights(replacement, read_weights(path), path)
    return replacement
