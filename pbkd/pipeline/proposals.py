"""The replacements that the builders of a run propose."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.options import choice_options
from pbkd.core.blocks import candidate_name
from pbkd.core.seeding import derive_seed
from pbkd.errors import ConfigError, PluginError
from pbkd.models.calibration import sample_count, with_calibration
from pbkd.models.chain import describe_blocks
from pbkd.models.rebuilding import check_rebuilding
from pbkd.models.replacement import propose, replaceable
from pbkd.plugin.attribution import describe_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from pbkd.core.blocks import Block
    from pbkd.models.replacement import Proposal
    from pbkd.pipeline.strategies import Strategies
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import BlockBuilder
    from pbkd.training.task import DistillationTask


__all__ = ["propose_all"]


def propose_all(
    registry: Registry,
    strategies: Strategies,
    task: DistillationTask,
    keep: Sequence[str],
    seed: int,
    recorded: Mapping[str, dict[str, Any]],
) -> dict[str, Proposal]:
    """Ask every builder for a replacement of every block, and check that each can be built again.

    Args:
        registry: The plugins.
        strategies: The builders and their choices.
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
    for block, calibration in with_calibration(strategies.builders, task.chain, blocks, images):
        segment = task.chain[block.position]
        for index, configured in enumerate(strategies.builder_choices):
            name = candidate_name(block.name, index)
            choice, builder = configured, strategies.builders[index]
            if recorded.get(name, {}).get("name") == choice["name"]:
                choice = recorded[name]
                builder = registry.create("builder", choice)
            proposal = propose(builder, segment, block, seed, calibration)
            choice = {**choice, **proposal.options}
            seconds = 0.0
            if proposal.replacement is not None:
                again = _created(registry, choice, builder, block) if proposal.options else builder
                start = time.perf_counter()
                check_rebuilding(proposal.replacement, again, segment, block)
                seconds = time.perf_counter() - start
                proposal.replacement.to(task.device)
            proposals[name] = replace(proposal, options=choice_options(choice), seconds=seconds)
    return proposals


def _created(
    registry: Registry, choice: Mapping[str, Any], builder: BlockBuilder, block: Block
) -> BlockBuilder:
    """Create a builder with the options that it chose itself."""
    try:
        created: BlockBuilder = registry.create("builder", choice)
    except ConfigError as error:
        raise PluginError(
            f"{describe_strategy('builder', builder)} gives block '{block.name}' options that it"
            f" does not take itself: {error}"
        ) from error
    return created


def _calibration_images(task: DistillationTask, seed: int) -> Tensor:
    """Return normalised training images, drawn by the seed and not augmented."""
    split = task.data.train
    generator = torch.Generator().manual_seed(derive_seed(seed, "calibration"))
    count = min(len(split), sample_count(task.chain, task.images[:1]))
    rows = torch.randperm(len(split), generator=generator)[:count].sort().values
    return task.normalize(split.images(rows))
