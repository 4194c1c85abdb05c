"""The replacements that the builders of a run propose."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pbkd.core.blocks import candidate_name, candidate_of
from pbkd.core.seeding import derive_seed
from pbkd.errors import ConfigError, PluginError
from pbkd.models.asked_builders import AskedBuilder
from pbkd.models.calibration import sample_count, takes_calibration, with_calibration
from pbkd.models.chain import describe_blocks
from pbkd.models.expected_error import with_error
from pbkd.models.proposal import propose_in_turn, refused_by_all
from pbkd.models.rebuilding import check_rebuilding
from pbkd.models.replacement import replaceable
from pbkd.planning.plan import PlannedBlock
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.core.blocks import Block
    from pbkd.models.asked_builders import AskedBuilders
    from pbkd.models.proposal import Proposal
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import BlockBuilder
    from pbkd.training.task import DistillationTask


__all__ = ["check_proposals", "planned_block", "propose_all", "replacements_of"]


def propose_all(
    registry: Registry,
    asked: AskedBuilders,
    task: DistillationTask,
    keep: Sequence[str],
    seed: int,
    recorded: Mapping[str, dict[str, Any]],
) -> dict[str, Proposal]:
    """Ask every builder for a replacement of every block.

    Args:
        registry: The plugins.
        asked: The builders and their choices.
        task: The teacher's chain and the data.
        keep: Patterns of the segments that are not replaced.
        seed: The run's seed.
        recorded: The builders of a run that is resumed with the options that they chose, by
            candidate: its initial weights have the shapes to which these options lead.

    Returns:
        The proposals by the candidates' names, in the order of the chain; their options include the
        configured ones.

    Raises:
        PluginError: If a builder or its replacement is faulty.
    """
    proposals = {}
    blocks = describe_blocks(task.chain, task.images[:1], replaceable(task.chain, keep))
    images = partial(_calibration_images, task, seed)
    guesses = asked.is_open and not recorded
    needed = guesses or any(map(takes_calibration, asked))
    for block, calibration in with_calibration(needed, task.chain, blocks, images):
        segment = task.chain[block.position]
        slots = _slots(registry, asked, block, recorded)
        found = [propose_in_turn(slot, segment, block, seed, calibration) for slot in slots]
        if asked.is_open:
            found = [p for p in found if p.replacement is not None] or [refused_by_all(found)]
        for index, proposal in enumerate(found):
            if guesses and calibration is not None:
                proposal = with_error(registry, proposal, segment, seed, calibration)
            if proposal.replacement is not None:
                proposal.replacement.to(task.device)
            proposals[candidate_name(block.name, index)] = proposal
    return proposals


def planned_block(name: str, p: Proposal) -> PlannedBlock:
    """Describe a candidate before its cost is measured."""
    return PlannedBlock(
        name=name,
        builder=p.builder,
        block=p.block,
        reason=p.reason,
        parameters_before=p.before.parameters,
        parameters_after=p.after.parameters,
        bytes_before=p.before.bytes,
        bytes_after=p.after.bytes,
        macs_before=p.before.macs,
        macs_after=p.after.macs,
    )


def replacements_of(proposals: Mapping[str, Proposal]) -> dict[str, nn.Module]:
    """Return the replacements by candidate.

    Raises:
        ConfigError: If there are none.
    """
    replacements = {
        name: p.replacement for name, p in proposals.items() if p.replacement is not None
    }
    if not replacements:
        names: dict[str | None, list[str]] = {}
        for name, p in proposals.items():
            names.setdefault(p.reason, []).append(name)
        reasons = "; ".join(f"{', '.join(blocks)}: {reason}" for reason, blocks in names.items())
        raise ConfigError(f"there is nothing to replace ({reasons or 'all are in `keep`'}).")
    return replacements


def _slots(
    registry: Registry,
    asked: AskedBuilders,
    block: Block,
    recorded: Mapping[str, dict[str, Any]],
) -> Sequence[Sequence[AskedBuilder]]:
    """Return the builders of a block's candidates: those on record, where there are any."""
    mine = {
        candidate_of(name)[1]: c
        for name, c in recorded.items()
        if candidate_of(name)[0] == block.name
    }
    if asked.is_open and mine:
        return [[_recorded(registry, choice)] for _, choice in sorted(mine.items())]
    return [
        [_recorded(registry, mine[index])]
        if mine.get(index, {}).get("name") in [each.choice["name"] for each in slot]
        else slot
        for index, slot in enumerate(asked.slots)
    ]


def _recorded(registry: Registry, choice: Mapping[str, Any]) -> AskedBuilder:
    return AskedBuilder(choice, registry.create("builder", choice))


def check_proposals(
    registry: Registry, task: DistillationTask, proposals: Mapping[str, Proposal]
) -> dict[str, Proposal]:
    """Check that each replacement can be built again, and measure the seconds of that.

    Args:
        registry: The plugins.
        task: The teacher's chain.
        proposals: The proposals, by candidate.

    Returns:
        The proposals with these seconds.

    Raises:
        PluginError: If a replacement could not be loaded, as it depends on the teacher's weights in
            more than its own weights.
    """
    checked = {}
    for name, proposal in proposals.items():
        if (replacement := proposal.replacement) is not None:
            builder, segment = _created(registry, proposal), task.chain[proposal.block.position]
            start = time.perf_counter()
            check_rebuilding(replacement, builder, segment, proposal.block)
            proposal = replace(proposal, seconds=time.perf_counter() - start)
            replacement.to(task.device)  # it was checked on the CPU
        checked[name] = proposal
    return checked


def _created(registry: Registry, proposal: Proposal) -> BlockBuilder:
    """Create a builder with the options that it chose itself."""
    try:
        created: BlockBuilder = registry.create("builder", proposal.builder)
    except ConfigError as error:
        strategy = registry.find("builder", proposal.builder["name"])
        raise PluginError(
            f"{describe_strategy('builder', strategy)} gives block '{proposal.block.name}' options"
            f" that it does not take itself: {error}"
        ) from error
    return created


def _calibration_images(task: DistillationTask, seed: int) -> Tensor:
    """Return normalised training images, drawn by the seed and not augmented."""
    split = task.data.train
    generator = torch.Generator().manual_seed(derive_seed(seed, "calibration"))
    count = min(len(split), sample_count(task.chain, task.images[:1]))
    rows = torch.randperm(len(split), generator=generator)[:count].sort().values
    return task.normalize(split.images(rows))
