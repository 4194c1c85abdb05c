"""The error that is expected of a replacement: how far off its output is before training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.replacement import build_replacement

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pbkd.models.proposal import Proposal
    from pbkd.plugin.registry import Registry


__all__ = ["with_error"]

_ROWS = 64  # enough for a mean over all pixels


@torch.no_grad()
def with_error(
    registry: Registry, proposal: Proposal, segment: nn.Module, seed: int, inputs: Tensor
) -> Proposal:
    """Add the relative squared error of a replacement's output to its proposal.

    A builder that can fit its replacements to calibration, which it says by `calibrated`, is asked
    for one that is: then the error is what its discarded whitened singular values leave (as in
    BALF, arXiv 2509.25136), and closer to the trained replacement's. An error of 1 and more,
    as replacements with random weights have, says nothing about what they will learn: instead, it
    is 1 and the share of the MACs that the replacement saves.

    Args:
        registry: The plugins.
        proposal: A replacement of a block.
        segment: The teacher's segment.
        seed: The run's seed.
        inputs: Inputs of the block, of which the first are used.

    Raises:
        PluginError: If the builder is faulty.
    """
    if proposal.replacement is None:
        return proposal
    x = inputs[:_ROWS]
    error = _relative_error(_fitted(registry, proposal, segment, seed, x), segment, x)
    if not error < 1:
        error = 2 - proposal.after.macs / proposal.before.macs
    return replace(proposal, error=error)


def _fitted(
    registry: Registry, proposal: Proposal, segment: nn.Module, seed: int, x: Tensor
) -> nn.Module | None:
    """Build the replacement with the options by which it is fitted to its inputs."""
    options = getattr(registry.find("builder", proposal.builder["name"]), "calibrated", {})
    if not options:
        return proposal.replacement
    builder = registry.create("builder", {**proposal.builder, **options})
    built = build_replacement(builder, segment, proposal.block, seed, x)
    return proposal.replacement if built is None else built.module


def _relative_error(replacement: nn.Module | None, segment: nn.Module, x: Tensor) -> float:
    if replacement is None:
        return math.inf
    device = next((tensor.device for tensor in segment.parameters()), x.device)
    wanted = segment(x.to(device)).cpu()
    with evaluation_mode(replacement):
        found = replacement(x)
    return float((found - wanted).square().sum() / wanted.square().sum().clamp_min(1e-30))
