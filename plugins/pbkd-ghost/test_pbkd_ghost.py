from __future__ import annotations

from typing import Any

import pytest
import torch
from pbkd_ghost import GhostBuilder, GhostConv2d, register_builders
from pbkd_zoo.resnet import BasicBlock
from torch import nn

from pbkd import Block
from pbkd.errors import ConfigError
from pbkd.testing import check_builder, macs


def build(builder: GhostBuilder, segment: nn.Module) -> nn.Module | None:
    return builder.build(segment, Block("block", 0, (8, 8, 8), (8, 8, 8)))


def test_it_keeps_the_contract() -> None:
    check_builder(GhostBuilder())
    assert register_builders() == [GhostBuilder]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": 2},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
        {"bias": False},
    ],
    ids=str,
)
def test_filters_that_are_multiples_of_others_are_exact(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    dense = nn.Conv2d(4, 8, 3, **options)
    with torch.no_grad():
        for channel, source, factor in ((1, 0, 2.0), (3, 2, -0.5), (5, 4, 3.0), (7, 6, 0.1)):
            dense.weight[channel] = factor * dense.weight[source]
    ghost = GhostConv2d(dense, ratio=2, kernel=3)
    images = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(ghost(images), dense(images), rtol=1e-4, atol=1e-5)
    assert ghost.primary.out_channels == 4


def test_each_filter_starts_as_the_nearest_multiple_of_one_that_is_kept() -> None:
    torch.manual_seed(1)
    dense = nn.Conv2d(3, 6, 3, bias=False)
    ghost = GhostConv2d(dense, ratio=3, kernel=1)
    taps = torch.eye(27).reshape(27, 3, 3, 3)
    filters = ghost(taps).reshape(27, 6).T.detach()
    wanted = dense(taps).reshape(27, 6).T.detach()
    exact = [row for row in range(6) if torch.allclose(filters[row], wanted[row], atol=1e-6)]
    assert len(exact) == 2
    basis = wanted[exact] / wanted[exact].norm(dim=1, keepdim=True)
    explained = (wanted @ basis.T).abs().max(1).values  # of each filter's norm, by the best one
    left = (wanted.norm(dim=1).square() - explained.square()).clamp_min(0).sqrt()
    torch.testing.assert_close((filters - wanted).norm(dim=1), left, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("ratio", [2, 4])
def test_the_macs_are_one_in_ratio_and_the_cheap_ones(ratio: int) -> None:
    dense = nn.Conv2d(16, 32, 3, padding=1, bias=False)
    built = build(GhostBuilder(ratio), nn.Sequential(dense))
    assert built is not None
    primary, cheap = 32 // ratio, 32 - 32 // ratio
    assert macs(built, (16, 8, 8)) == 64 * 9 * (16 * primary + cheap)


def test_the_rest_of_a_block_is_the_teachers() -> None:
    block = BasicBlock(16, 32, stride=2).eval()
    built = build(GhostBuilder(), block)
    assert built is not None
    assert isinstance(built.get_submodule("conv1"), GhostConv2d)
    for name in ("bn1", "bn2"):
        theirs = block.get_submodule(name).state_dict()
        mine = built.get_submodule(name).state_dict()
        assert all(torch.equal(tensor, mine[key]) for key, tensor in theirs.items())


@pytest.mark.parametrize(
    "convolution",
    [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 3, 3)],
    ids=["1x1", "depthwise", "few channels"],
)
def test_a_block_without_such_a_convolution_stays(convolution: nn.Module) -> None:
    assert build(GhostBuilder(), nn.Sequential(convolution)) is None


@pytest.mark.parametrize("options", [{"ratio": 1}, {"kernel": 2}])
def test_options_out_of_range(options: Any) -> None:
    with pytest.raises(ConfigError, match=f"'builder.{next(iter(options))}' is"):
        GhostBuilder(**options)
