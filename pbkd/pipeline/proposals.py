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
from pbkd.models.calibration import sample_count, with_calibration
from pbkd.models.chain import describe_blocks
from pbkd.models.proposal import propose_in_turn, refused_by_all
from pbkd.models.rebuilding import check_rebuilding
from pbkd.models.replacement import replaceable
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


__all__ = ["propose_all"]


def propose_all(
    registry: Registry,
    asked: AskedBuilders,
    task: DistillationTask,
    keep: Sequence[str],
    seed: int,
    recorded: Mapping[str, dict[str, Any]],
) -> dict[str, Proposal]:
    """Ask every builder for a replacement of every block, and check that each can be built again.

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
        PluginError: If a builder or its replacement is faulty, or the replacement could not be
            loaded, as it depends on the teacher's weights in more than its own weights.
    """
    proposals = {}
    blocks = describe_blocks(task.chain, task.images[:1], replaceable(task.chain, keep))
    images = partial(_calibration_images, task, seed)
    for block, calibration in with_calibration(asked, task.chain, blocks, images):
        segment = task.chain[block.position]
        slots = _slots(registry, asked, block, recorded)
        found = [propose_in_turn(slot, segment, block, seed, calibration) for slot in slots]
        if asked.is_open:
            found = _of_first_builder(found) or [refused_by_all(found)]
        for index, proposal in enumerate(found):
            checked = _checked(registry, proposal, segment)
            if checked.replacement is not None:
                checked.replacement.to(task.device)
            proposals[candidate_name(block.name, index)] = checked
    return proposals


def _of_first_builder(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the proposals with replacements of the first builder that has any."""
    fitting = [p for p in proposals if p.replacement is not None]
    return [p for p in fitting if p.builder["name"] == fitting[0].builder["name"]]


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


def _checked(registry: Registry, proposal: Proposal, segment: nn.Module) -> Proposal:
    """Check that a replacement can be built again, and measure the seconds of that."""
    if proposal.replacement is None:
        return proposal
    builder = _created(registry, proposal)
    start = time.perf_counter()
    check_rebuilding(proposal.replacement, builder, segment, proposal.block)
    return replace(proposal, seconds=time.perf_counter() - start)


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
