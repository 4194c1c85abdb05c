"""Proposals: the replacement of a block, compared with its segment, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.models.metrics import ModuleSize, module_size
from pbkd.models.replacement import build_replacement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.core.blocks import Block
    from pbkd.models.asked_builders import AskedBuilder


__all__ = ["Proposal", "propose", "propose_in_turn", "refused_by_all", "without_replacement"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A block with its replacement, or with the reason why it keeps the teacher's segment.

    Attributes:
        block: The block.
        replacement: Its replacement; None if it keeps the teacher's segment.
        reason: Why it does; None with a replacement.
        before: The size of the teacher's segment.
        after: The size of the replacement, or of the segment that is kept.
        builder: The builder's name, its configured options, and those that it chose, which give
            a replacement of the same shapes.
        error: The error that is expected of the replacement's output, relative to the output; None
            if it was not computed.
        is_dear: Whether there is no replacement because it would need more MACs than the segment.
        seconds: Seconds of building it again, as each worker does; 0 if that was not measured.
    """

    block: Block
    replacement: nn.Module | None
    reason: str | None
    before: ModuleSize
    after: ModuleSize
    builder: Mapping[str, Any]
    error: float | None = None
    is_dear: bool = False
    seconds: float = 0.0


def propose(
    asked: AskedBuilder,
    segment: nn.Module,
    block: Block,
    seed: int,
    calibration: Tensor | None = None,
) -> Proposal:
    """Build a block's replacement; drop it if it does not have fewer MACs.

    With as many MACs, as of a block in fewer bits, it must have fewer bytes.

    Args:
        asked: Builds the replacement.
        segment: The teacher's segment.
        block: Its name and shapes.
        seed: The run's seed.
        calibration: Inputs of the block, for a builder that takes them.

    Raises:
        PluginError: If the builder or its replacement is faulty.
    """
    before = after = module_size(segment, block.input_shape)
    built = build_replacement(asked.builder, segment, block, seed, calibration)
    reason: str | None = f"'{asked.choice['name']}' finds nothing to replace"
    replacement = None if built is None else built.module
    if replacement is not None:
        size = module_size(replacement, block.input_shape)
        if (size.macs, size.bytes) < (before.macs, before.bytes):
            reason, after = None, size
        else:
            replacement = None
            reason = f"its replacement would need more MACs ({size.macs:,} against {before.macs:,})"
    return Proposal(
        block=block,
        replacement=replacement,
        reason=reason,
        before=before,
        after=after,
        builder={**asked.choice, **({} if built is None else built.options)},
        is_dear=built is not None and replacement is None,
    )


def propose_in_turn(
    slot: Sequence[AskedBuilder],
    segment: nn.Module,
    block: Block,
    seed: int,
    calibration: Tensor | None = None,
) -> Proposal:
    """Ask builders for a block's replacement, until one has a cheaper one.

    Args:
        slot: The builders, at least one.
        segment: The teacher's segment.
        block: Its name and shapes.
        seed: The run's seed.
        calibration: Inputs of the block, for builders that take them.

    Returns:
        The first proposal with a replacement; if there is none, one with the reasons of all.

    Raises:
        PluginError: If a builder or its replacement is faulty.
    """
    refused = []
    for asked in slot:
        proposal = propose(asked, segment, block, seed, calibration)
        if proposal.replacement is not None:
            return proposal
        refused.append(proposal)
    return refused_by_all(refused)


def without_replacement(proposal: Proposal, reason: str) -> Proposal:
    """Return a proposal that keeps the teacher's segment."""
    return replace(
        proposal, replacement=None, reason=reason, after=proposal.before, error=None, seconds=0.0
    )


def refused_by_all(refused: Sequence[Proposal]) -> Proposal:
    """Join proposals without a replacement to one with all reasons.

    Args:
        refused: What the builders propose for a block, at least one.
    """
    first = refused[0]
    dear = dict.fromkeys(str(p.builder["name"]) for p in refused if p.is_dear)
    none = [
        name for name in dict.fromkeys(str(p.builder["name"]) for p in refused) if name not in dear
    ]
    if len(none) + len(dear) == 1:
        return first
    reasons = [f"{', '.join(none)} find nothing to replace"] if none else []
    reasons += [f"{', '.join(dear)} would need more MACs"] if dear else []
    return replace(first, reason="; ".join(reasons))
