"""The error that is expected of a replacement, by which candidates are chosen before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from pbkd import Block
from pbkd.models.asked_builders import AskedBuilder
from pbkd.models.expected_error import with_error
from pbkd.models.proposal import Proposal, propose

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

BLOCK = Block("block", 1, (16, 8, 8), (16, 8, 8))


@pytest.fixture
def segment() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)).eval()


@pytest.fixture
def inputs() -> torch.Tensor:
    scale = torch.logspace(0, -2, 16)[:, None, None]  # few channels matter
    return torch.randn(64, 16, 8, 8, generator=torch.Generator().manual_seed(0)) * scale


def proposed(registry: Registry, segment: nn.Module, choice: dict[str, Any]) -> Proposal:
    return propose(AskedBuilder(choice, registry.create("builder", choice)), segment, BLOCK, 0)


def test_it_is_that_of_the_output_with_kernels_decomposed_in_the_metric_of_their_inputs(
    registry: Registry, segment: nn.Module, inputs: torch.Tensor
) -> None:
    errors = []
    for share in (0.5, 0.24, 0.1):
        proposal = proposed(registry, segment, {"name": "low-rank", "share": share})
        found = with_error(registry, proposal, segment, 0, inputs)
        assert found.replacement is proposal.replacement  # starts as it would without a guess
        assert found.replacement is not None
        with torch.no_grad():
            wanted = segment(inputs)
            plain = (found.replacement(inputs) - wanted).square().sum() / wanted.square().sum()
        assert found.error is not None
        assert found.error < 0.7 * plain
        errors.append(found.error)
    assert errors == sorted(errors)


def test_of_random_weights_it_is_more_the_more_macs_are_saved(
    registry: Registry, segment: nn.Module, inputs: torch.Tensor
) -> None:
    for parameter in segment.parameters():
        parameter.data *= 0.01  # so that any other output is far off
    for expansion in (2.0, 1.0):
        choice = {"name": "inverted-residual", "expansion": expansion}
        proposal = proposed(registry, segment, choice)
        saved = 1 - proposal.after.macs / proposal.before.macs
        assert with_error(registry, proposal, segment, 0, inputs).error == 1 + saved
