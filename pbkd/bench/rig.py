"""One rank's copy of the network that a benchmark trains."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.config.schema import DistillConfig, RunConfig
from pbkd.models.asked_builders import AskedBuilder
from pbkd.models.chain import describe_blocks, freeze, fuse_batchnorm
from pbkd.models.partition import pick_partitioner
from pbkd.models.proposal import propose
from pbkd.models.replacement import replaceable
from pbkd.models.teacher import build_network
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.distill import train_job
from pbkd.training.learner import Learner, new_learner
from pbkd.training.optimisation import create_optimisation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pbkd.bench.presets import Preset
    from pbkd.core.blocks import Block
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Loss
    from pbkd.training.feeds import Lessons
    from pbkd.training.optimisation import Optimisation
    from pbkd.training.replicas import ReplicaGroup

__all__ = ["Rig", "build_rigs", "calibrate"]


@dataclass(kw_only=True)
class Rig:
    """One rank's copy of teacher, replacements and images.

    Attributes:
        chain: The teacher.
        replacements: The replacement of each block.
        blocks: The blocks with a replacement, by name.
        images: The distinct batches, (N, C, H, W) each; they are repeated.
        loss: The loss of blockwise training.
        optimisation: How replacements are updated.
        rank: The rank.
        learners: The blocks that this rank has trained since `start`.
    """

    chain: nn.Sequential
    replacements: Mapping[str, nn.Module]
    blocks: Mapping[str, Block]
    images: list[Tensor]
    loss: Loss
    optimisation: Optimisation
    rank: int
    learners: dict[str, Learner] = field(default_factory=dict)

    def start(self) -> None:
        """Begin a procedure: what it trains starts from the untrained replacements."""
        self.learners.clear()

    def steps_taken(self) -> dict[str, int]:
        """Count the optimiser steps of every block that was trained since `start`."""
        return {name: learner.rate.last_epoch for name, learner in self.learners.items()}

    def batches(self, steps: int) -> Iterator[Tensor]:
        """Yield `steps` batches."""
        return itertools.islice(itertools.cycle(self.images), steps)

    def train(
        self, names: Iterable[str], lessons: Iterable[Lessons], replicas: ReplicaGroup | None = None
    ) -> None:
        """Train blocks for one epoch, with the other replicas of their stage, if any."""
        learners = {name: self._learner(name, replicas) for name in names}
        self.learners |= learners
        losses = dict.fromkeys(learners, AppliedLoss(self.loss))
        train_job(learners, [lessons], losses, replicas=replicas)

    def _learner(self, name: str, replicas: ReplicaGroup | None) -> Learner:
        replacement = copy.deepcopy(self.replacements[name])
        if replicas is not None:
            replicas.share_norms(replacement)
        return new_learner(replacement, self.optimisation, steps=1_000_000)


def build_rigs(
    registry: Registry, preset: Preset, rank: int, device: torch.device
) -> tuple[Rig, Rig]:
    """Build the same network on every rank, with random weights.

    Returns:
        The network with fused BatchNorm and channels-last tensors, and the plain network.
    """
    torch.manual_seed(0)
    network = build_network(registry, preset.teacher).to(device)
    shape = (preset.batch_size, *preset.image_shape)
    images = [torch.randn(shape, device=device) for _ in range(preset.distinct_steps)]
    calibrate(network, images[0])
    chain = pick_partitioner(registry, {"name": "auto"}, freeze(network)).partition(network)
    names = replaceable(chain, RunConfig().keep)
    asked = AskedBuilder(preset.builder, registry.create("builder", preset.builder))
    blocks = describe_blocks(chain, images[0][:1], names)
    proposals = [propose(asked, chain[block.position], block, 0) for block in blocks]
    replacements = {
        p.block.name: p.replacement.to(device) for p in proposals if p.replacement is not None
    }
    trained = {block.name: block for block in blocks if block.name in replacements}
    plain = {
        name: copy.deepcopy(r).to(memory_format=torch.contiguous_format)
        for name, r in replacements.items()
    }
    channels_last = [image.to(memory_format=torch.channels_last) for image in images]
    fused = fuse_batchnorm(chain, channels_last[0][:2])
    loss = registry.create("loss", {"name": "nmse"})
    optimisation = create_optimisation(registry, DistillConfig(lr=1e-3))
    return (
        Rig(
            chain=fused,
            replacements=replacements,
            blocks=trained,
            images=channels_last,
            loss=loss,
            optimisation=optimisation,
            rank=rank,
        ),
        Rig(
            chain=chain,
            replacements=plain,
            blocks=trained,
            images=images,
            loss=loss,
            optimisation=optimisation,
            rank=rank,
        ),
    )


def calibrate(network: nn.Module, images: Tensor) -> None:
    """Set a network's BatchNorm statistics from a batch, so that activations keep their scale."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
