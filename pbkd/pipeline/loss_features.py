"""Blocks whose modules a loss cannot see: they keep the teacher's segment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pbkd.errors import PluginError
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.training.features import run_with_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from pbkd.models.replacement import Proposal
    from pbkd.protocols import Loss


__all__ = ["drop_without_features"]


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
        return replace(
            proposal,
            replacement=None,
            reason=f"the loss '{loss.name}' looks inside, but {str(error).removesuffix('.')}",
            parameters_after=proposal.parameters_before,
            macs_after=proposal.macs_before,
        )
    return proposal
