"""Coverage: which networks can be compressed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import torch

from pbkd.core.seeding import derive_seed
from pbkd.data.preprocessing import pretrained_cfg
from pbkd.errors import PbkdError, TeacherError, UnknownNameError, one_line
from pbkd.models.adopt import adopt
from pbkd.models.asked_builders import ask_builders
from pbkd.models.calibration import takes_calibration, with_calibration
from pbkd.models.chain import describe_blocks
from pbkd.models.forward_pass import settle
from pbkd.models.metrics import macs
from pbkd.models.partition import pick_and_cut
from pbkd.models.proposal import propose_in_turn
from pbkd.models.replacement import replaceable
from pbkd.models.teacher import build_network, find_model, list_variants
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.distill import train_block
from pbkd.training.feeds import Lesson
from pbkd.training.learner import new_learner
from pbkd.training.losses import create_loss
from pbkd.training.optimisation import create_optimisation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from pbkd.config.schema import RunConfig
    from pbkd.models.proposal import Proposal
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Loss
    from pbkd.training.optimisation import Optimisation


__all__ = ["Coverage", "cover", "matching"]

_SIZE = 64  # pixels, for networks that declare no size


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Whether a network can be compressed, and how far.

    Attributes:
        name: The network's name.
        partitioner: The partitioner that made its chain.
        blocks: Blocks that have parameters.
        replaced: Blocks with a cheaper replacement.
        macs_before: MACs of one image.
        macs_after: MACs of one image, with all replacements.
        failure: Why the network cannot be cut or trained; None if it can.
    """

    name: str
    partitioner: str | None = None
    blocks: int = 0
    replaced: int = 0
    macs_before: int | None = None
    macs_after: int | None = None
    failure: str | None = None


def matching(registry: Registry, patterns: Sequence[str]) -> Iterator[str]:
    """Expand patterns to names of networks.

    Args:
        registry: Where models are registered.
        patterns: Names, or `family:pattern` with shell-style wildcards.

    Yields:
        Names of networks.

    Raises:
        UnknownNameError: If a pattern matches nothing.
    """
    for pattern in patterns:
        family, _, variant = pattern.partition(":")
        if "*" not in variant:
            yield pattern
            continue
        matches = [name for name in list_variants(registry, family) if fnmatch(name, variant)]
        if not matches:
            raise UnknownNameError(f"no network of {family} matches '{variant}'.")
        yield from (f"{family}:{name}" for name in matches)


def cover(registry: Registry, name: str, config: RunConfig, size: int | None) -> Coverage:
    """Try whether a network can be compressed: cut it, replace its blocks, train them one step.

    Weights and the two images are random, and so is calibration. A block that the builder does not
    replace is offered to the candidates, in turn.

    Args:
        registry: The plugins.
        name: The network's name.
        config: Names partitioner, builder, candidates, loss and seed.
        size: Height and width of the images, in pixels; None for those that the network is made
            for, or 64 if it declares none.

    Returns:
        The coverage, with `failure` if the network cannot be cut or trained.
    """
    loss = create_loss(registry, config.distill.loss)
    optimisation = create_optimisation(registry, config.distill, "distill")
    torch.manual_seed(derive_seed(config.seed, "coverage", name))
    try:
        network = adopt(build_network(registry, {"name": name})).network
        images = torch.randn(2, *_image_shape(registry, name, network, size))
        _check_size(network, images)
        settle(network, images, None, {})
        partitioner, chain = pick_and_cut(registry, config.partitioner, network, images)
        asked = ask_builders(registry, config.builder, config.candidates)
        needed = any(map(takes_calibration, asked))
        in_turn = [each for slot in asked.slots for each in slot]
        blocks = describe_blocks(chain, images[:1], replaceable(chain, config.keep))
        proposals = [
            propose_in_turn(in_turn, chain[block.position], block, config.seed, calibration)
            for block, calibration in with_calibration(needed, chain, blocks, lambda: images)
        ]
        _train_one_step(chain, proposals, images, loss, optimisation)
    except PbkdError as error:
        return Coverage(name=name, failure=str(error))
    before = macs(network, images.shape[1:])
    return Coverage(
        name=name,
        partitioner=partitioner["name"],
        blocks=len(proposals),
        replaced=sum(proposal.replacement is not None for proposal in proposals),
        macs_before=before,
        macs_after=before - sum(p.before.macs - p.after.macs for p in proposals),
    )


def _image_shape(
    registry: Registry, name: str, network: nn.Module, size: int | None
) -> tuple[int, int, int]:
    """Return channels, height and width of the images."""
    model, _ = find_model(registry, name)
    declared = model.input_shape or pretrained_cfg(network).get("input_size")
    channels, height, width = declared or (len(model.mean) or 3, _SIZE, _SIZE)
    return (channels, height, width) if size is None else (channels, size, size)


@torch.no_grad()
def _check_size(network: nn.Module, images: Tensor) -> None:
    try:
        network(images)
    except Exception as error:
        shape = " x ".join(map(str, images.shape[1:]))
        raise TeacherError(
            f"it cannot process images of {shape} ({one_line(error).rstrip('.')}): choose their"
            " height and width with --size."
        ) from error


def _train_one_step(
    chain: nn.Sequential,
    proposals: Sequence[Proposal],
    images: Tensor,
    loss: Loss,
    optimisation: Optimisation,
) -> None:
    """Train every replacement for one step on its block's input and output."""
    by_position = {proposal.block.position: proposal for proposal in proposals}
    losses = apply_to_blocks(loss, chain)
    x = images
    for position, (name, segment) in enumerate(chain.named_children()):
        with torch.no_grad():
            y = segment(x)
        proposal = by_position.get(position)
        if proposal is not None and proposal.replacement is not None:
            learner = new_learner(proposal.replacement, optimisation, steps=1)
            try:
                _, value = train_block(learner, Lesson(name, x, y, x), losses[name])
            except Exception as error:
                reason = f"the block '{name}' cannot be trained ({one_line(error).rstrip('.')})."
                raise PbkdError(reason) from error
            if not math.isfinite(value):
                raise PbkdError(f"the loss of the block '{proposal.block.name}' is {value:g}.")
        x = y
