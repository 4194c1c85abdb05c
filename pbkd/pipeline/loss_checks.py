"""What planning checks of the blockwise loss: that it sees its features and keeps its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pbkd.core.blocks import candidate_of
from pbkd.errors import PluginError
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.precision import autocast
from pbkd.models.proposal import without_replacement
from pbkd.training.features import run_with_features
from pbkd.training.feeds import Lesson
from pbkd.training.loss_trial import try_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.models.proposal import Proposal
    from pbkd.protocols import Loss
    from pbkd.training.applied_loss import AppliedLoss


__all__ = ["drop_without_features", "try_on_blocks"]

_ROWS = 8


def drop_without_features(
    proposals: Mapping[str, Proposal], loss: Loss, chain: nn.Sequential
) -> dict[str, Proposal]:
    """Drop replacements where they or the teacher's segments lack a feature of the loss.

    Args:
        proposals: What the builders propose, by candidate.
        loss: The loss of the blockwise phases.
        chain: The teacher's chain.

    Returns:
        The proposals; one that is dropped has the reason.
    """
    features = tuple(getattr(loss, "features", ()))
    return {name: _checked(p, loss, chain, features) for name, p in proposals.items()}


def _checked(
    proposal: Proposal, loss: Loss, chain: nn.Sequential, features: Sequence[str]
) -> Proposal:
    if proposal.replacement is None or not features:
        return proposal
    block = proposal.block
    networks = {
        "the teacher's segment": chain[block.position],
        "the replacement": proposal.replacement,
    }
    try:
        for subject, network in networks.items():
            device = next((p.device for p in network.parameters()), None)
            with evaluation_mode(network):
                x = torch.zeros(2, *block.input_shape, device=device)
                run_with_features(network, network, x, features, subject)
    except PluginError as error:
        reason = f"the loss '{loss.name}' looks inside, but {str(error).removesuffix('.')}"
        return without_replacement(proposal, reason)
    return proposal


def try_on_blocks(
    losses: Mapping[str, AppliedLoss],
    feeding: nn.Sequential,
    replacements: Mapping[str, nn.Module],
    images: Tensor,
) -> None:
    """Try the loss on a few rows of each replacement's output, if that is finite.

    Args:
        losses: The loss, by block.
        feeding: The chain that feeds blocks.
        replacements: The replacements, by candidate.
        images: Input of the chain, (B, C, H, W).

    Raises:
        PluginError: The loss fails or breaks its protocol.
    """
    x = images[:_ROWS]
    for block, segment in feeding.named_children():
        with torch.no_grad():
            lesson = Lesson(block, x, segment(x), x)
        for name, replacement in replacements.items():
            if candidate_of(name)[0] == block:
                _try(losses[block], replacement, lesson)
        x = lesson.target


def _try(loss: AppliedLoss, replacement: nn.Module, lesson: Lesson) -> None:
    try:
        with evaluation_mode(replacement), torch.enable_grad():
            forward = autocast(replacement, lesson.x.dtype)
            output, features = loss.forward(replacement, forward, lesson.x)
        if output.shape == lesson.target.shape and _is_finite(output, lesson.target):
            theirs = loss.teacher_features(lesson.teacher_x)
            context = loss.context(lesson.x, epoch=0, features=features, teacher_features=theirs)
            try_loss(loss, output, lesson.target, context)
    except PluginError as error:
        raise PluginError(f"block '{lesson.block}' cannot be trained, since {error}") from error


def _is_finite(*activations: Tensor) -> bool:
    return all(bool(activation.isfinite().all()) for activation in activations)
