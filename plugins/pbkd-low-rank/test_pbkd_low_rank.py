from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from pbkd_low_rank import LowRankBuilder, register_builders, thin_pair
from pbkd_zoo.resnet import BasicBlock
from torch import Tensor, nn

from pbkd.errors import ConfigError
from pbkd.testing import blocks_of, check_builder, macs


def dense(*args: Any, **options: Any) -> nn.Conv2d:
    """Return a convolution with fixed random weights in double precision."""
    torch.manual_seed(0)
    return nn.Conv2d(*args, **options).double()


def kernel_of(pair: nn.Sequential) -> Tensor:
    """Return the dense kernel, (out, in, height, width), that a pair amounts to."""
    tall, wide = (cast("nn.Conv2d", layer).weight.detach() for layer in pair)
    return torch.einsum("mih,omw->oihw", tall[..., 0], wide[:, :, 0])


def build(builder: LowRankBuilder, segment: nn.Module, channels: int) -> nn.Module | None:
    chain = nn.Sequential()
    chain.add_module("block0", segment)
    (block,) = blocks_of(chain, torch.zeros(1, channels, 8, 8), ["block0"])
    return builder.build(segment, block)


def test_it_keeps_the_contract() -> None:
    check_builder(LowRankBuilder())
    assert register_builders() == [LowRankBuilder]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"stride": (1, 2), "padding": (0, 1)},
        {"padding": "same"},
        {"dilation": 2, "padding": 2},
        {"padding": 1, "padding_mode": "reflect"},
        {"bias": False},
        {"groups": 2},
        {"groups": 2, "stride": 2, "dilation": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [3, (3, 5)], ids=["3x3", "3x5"])
def test_full_rank_is_exact_in_every_geometry(kernel: Any, options: dict[str, Any]) -> None:
    convolution = dense(4, 6, kernel, **options)
    pair = thin_pair(convolution, 100).double()
    images = torch.randn(2, 4, 11, 11, dtype=torch.float64)
    # The pair is made in single precision and rounds there.
    assert torch.allclose(pair(images), convolution(images), rtol=0, atol=1e-5)
    assert (cast("nn.Conv2d", pair[1]).bias is None) == (convolution.bias is None)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_the_error_is_the_discarded_singular_values(channels: int) -> None:
    convolution = dense(4, 8, 3)
    weight = convolution.weight.detach()
    discarded = torch.linalg.svdvals(weight.permute(1, 2, 0, 3).reshape(12, 24))[channels:]
    error = kernel_of(thin_pair(convolution, channels)) - weight
    assert error.norm().item() == pytest.approx(discarded.norm().item(), abs=1e-5)
    assert error.norm().item() > 0.1


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2)])
def test_the_macs_are_as_many_as_the_share_allows(share: float, stride: int, groups: int) -> None:
    convolution = nn.Conv2d(24, 48, 3, stride=stride, padding=1, groups=groups, bias=False)
    built = build(LowRankBuilder(share, multiple=1), nn.Sequential(convolution), 24)
    assert built is not None
    whole, part = (macs(module, (24, 16, 16)) for module in (convolution, built))
    middle = cast("nn.Conv2d", cast("nn.Sequential", built.get_submodule("0"))[0]).out_channels
    assert share * (1 - groups / middle) <= part / whole <= share


def test_channels_between_are_a_multiple_where_there_are_as_many() -> None:
    def between(share: float, multiple: int, channels: int) -> int:
        convolution = nn.Conv2d(channels, channels, 3, padding=1)
        built = build(LowRankBuilder(share, multiple), nn.Sequential(convolution), channels)
        assert built is not None
        return cast("nn.Conv2d", cast("nn.Sequential", built.get_submodule("0"))[0]).out_channels

    assert between(0.34, 1, 64) == 32
    assert between(0.45, 8, 64) == 40
    assert between(0.45, 16, 64) == 32
    assert between(0.34, 8, 8) == 4
    assert between(0.01, 8, 8) == 1


def test_the_rest_of_a_block_is_the_teachers() -> None:
    block = BasicBlock(16, 32, stride=2).eval()
    built = build(LowRankBuilder(), block, 16)
    assert built is not None
    pairs = {name: built.get_submodule(name) for name in ("conv1", "conv2")}
    assert all(isinstance(pair, nn.Sequential) for pair in pairs.values())
    for name in ("bn1", "bn2"):
        theirs = block.get_submodule(name).state_dict()
        assert all(
            torch.equal(t, theirs[k]) for k, t in built.get_submodule(name).state_dict().items()
        )


@pytest.mark.parametrize(
    "segment",
    [
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8)),
        nn.Sequential(nn.Conv2d(8, 8, (1, 3), padding=(0, 1))),
    ],
    ids=["1x1", "depthwise", "1x3"],
)
def test_a_block_without_dense_square_convolutions_is_kept(segment: nn.Module) -> None:
    assert build(LowRankBuilder(), segment, 8) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "'builder.share' is 0.0, but must be above 0 and at most 1."),
        ({"share": 1.5}, "'builder.share' is 1.5, but must be above 0 and at most 1."),
        ({"multiple": 0}, "'builder.multiple' is 0, but must be at least 1."),
    ],
)
def test_an_option_out_of_range_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LowRankBuilder(**options)
    assert str(caught.value) == message


def test_the_convolution_of_images_is_left_alone_unless_asked_for() -> None:
    segment = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
    kept, asked = (build(LowRankBuilder(stem=stem), segment, 3) for stem in (False, True))
    assert kept is not None
    assert asked is not None
    assert [type(part) for part in kept.children()] == [nn.Conv2d, nn.ReLU, nn.Sequential]
    assert [type(part) for part in asked.children()] == [nn.Sequential, nn.ReLU, nn.Sequential]
