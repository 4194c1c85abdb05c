"""Whether a network can be compressed: cut, checked, given replacements, trained for one step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.errors import PbkdError, UnknownNameError
from pbkd.models.chain import blocks_of, freeze
from pbkd.models.metrics import macs
from pbkd.models.partition import cut, pick_partitioner
from pbkd.models.replacement import builder_choices, create_builders, propose, replaceable
from pbkd.models.teacher import build_network, list_variants
from pbkd.training.distill import train_block
from pbkd.training.learner import trainee

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from pbkd.config.schema import DistillConfig, RunConfig
    from pbkd.models.replacement import Proposal
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Loss


__all__ = ["Coverage", "cover", "matching"]


@dataclass(frozen=True)
class Coverage:
    """What becomes of a network with random weights.

    `blocks` are those of its chain that have parameters, `replaced` those with a cheaper
    replacement; the MACs are of one image. Where the network cannot be cut or trained, `failure`
    says why.
    """

    name: str
    partitioner: str | None = None
    blocks: int = 0
    replaced: int = 0
    macs_before: int | None = None
    macs_after: int | None = None
    failure: str | None = None


def matching(registry: Registry, patterns: Sequence[str]) -> Iterator[str]:
    """Yield the names of networks, those with `*` in them replaced by all variants that match."""
    for pattern in patterns:
        family, _, variant = pattern.partition(":")
        if "*" not in variant:
            yield pattern
            continue
        found = [name for name in list_variants(registry, family) if fnmatch(name, variant)]
        if not found:
            raise UnknownNameError(f"no network of {family} matches '{variant}'.")
        yield from (f"{family}:{name}" for name in found)


def cover(registry: Registry, name: str, config: RunConfig, size: int) -> Coverage:
    """Cut the network, check the chain, build replacements, train each for one step.

    Weights are random, and so are two images of `size` x `size`. Partitioner, builder, loss and
    seed are those of `config`. A block that the builder leaves alone is offered to the first of the
    candidates that does not.
    """
    loss: Loss = registry.find("loss", config.distill.loss)
    torch.manual_seed(derive_seed(config.seed, "coverage", name))
    try:
        network = freeze(build_network(registry, {"name": name}))
        images = torch.randn(2, 3, size, size)
        partitioner = pick_partitioner(registry, config.partitioner, network)
        chain = cut(partitioner, network, images)
        proposals = _proposals(registry, chain, images[:1], config)
        _step(chain, proposals, images, config.distill, loss)
    except PbkdError as error:
        return Coverage(name, failure=str(error))
    before = macs(network, images.shape[1:])
    return Coverage(
        name,
        partitioner.name,
        blocks=len(proposals),
        replaced=sum(found.replacement is not None for found in proposals),
        macs_before=before,
        macs_after=before - sum(found.macs_before - found.macs_after for found in proposals),
    )


def _proposals(
    registry: Registry, chain: nn.Sequential, image: Tensor, config: RunConfig
) -> list[Proposal]:
    builders = create_builders(registry, builder_choices(config.builder, config.candidates))
    found = []
    for block in blocks_of(chain, image, replaceable(chain, config.keep)):
        tried = [propose(each, chain[block.position], block, config.seed) for each in builders]
        found.append(next((one for one in tried if one.replacement is not None), tried[0]))
    return found


def _step(
    chain: nn.Sequential,
    proposals: Sequence[Proposal],
    images: Tensor,
    distill: DistillConfig,
    loss: Loss,
) -> None:
    """Train every replacement for one step on its block's input and output."""
    at = {found.block.position: found for found in proposals}
    x = images
    for position, segment in enumerate(chain):
        with torch.no_grad():
            y = segment(x)
        found = at.get(position)
        if found is not None and found.replacement is not None:
            learner = trainee(
                found.replacement,
                lr=distill.lr,
                weight_decay=distill.weight_decay,
                steps=1,
                optimiser=distill.optimiser,
            )
            _, value = train_block(learner, x, y, loss)
            if not math.isfinite(value):
                raise PbkdError(f"the loss of the block '{found.block.name}' is {value:g}.")
        x = y
