from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn

from pbkd import Built
from pbkd.errors import ConfigError
from pbkd.testing import check_builder, describe_blocks, macs

if TYPE_CHECKING:
    import pbkd_tucker as tucker
else:
    tucker = pytest.importorskip("pbkd_tucker", reason="tensorly is not installed")


def answer(builder: Any, segment: nn.Module, calibration: Tensor | None = None) -> Any:
    chain = nn.Sequential()
    chain.add_module("block0", segment)
    channels = cast("nn.Conv2d", next(segment.children())).in_channels
    (block,) = describe_blocks(chain, torch.zeros(1, channels, 8, 8), ["block0"])
    return builder.build(segment, block, calibration)


def dense(*args: Any, **options: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(*args, **options)


GEOMETRIES: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 2), "padding": (0, 1)},
    {"padding": "same"},
    {"dilation": 2, "padding": 2},
    {"padding": 1, "padding_mode": "reflect"},
    {"bias": False},
    {"groups": 2},
    {"groups": 2, "stride": 2, "dilation": 2},
]


@pytest.mark.parametrize("options", [{}, {"energy": 0.7}, {"energy": 0.8, "whiten": True}], ids=str)
def test_it_keeps_the_contract(options: dict[str, Any]) -> None:
    check_builder(tucker.TuckerBuilder(**options))
    assert tucker.register_builders() == [tucker.TuckerBuilder]


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_full_rank_is_exact_in_every_geometry(options: dict[str, Any]) -> None:
    convolution = dense(4, 6, 3, **options)
    images = torch.randn(3, 4, 11, 11)
    roots = tucker.channel_roots(nn.Sequential(convolution), {"0": convolution}, images)
    for root in (None, roots["0"]):
        triple = tucker.thin_triple(convolution, (100, 100), root)
        assert torch.allclose(triple(images), convolution(images), rtol=0, atol=1e-4)
        assert (cast("nn.Conv2d", triple[2]).bias is None) == (convolution.bias is None)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_whitening_makes_the_error_of_the_outputs_smaller(options: dict[str, Any]) -> None:
    convolution = dense(4, 6, 3, **options)
    base = torch.randn(60, 4, 11, 11)
    images = base.mul(torch.tensor([4.0, 0.1, 0.3, 1.0])[:, None, None]) + base[:, :1]
    root = tucker.channel_roots(nn.Sequential(convolution), {"0": convolution}, images)["0"]
    exact = convolution(images)
    plain, whitened = (
        (tucker.thin_triple(convolution, (1, 3), given)(images) - exact).norm()
        for given in (None, root)
    )
    assert whitened < 0.9 * plain


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2)])
def test_the_macs_are_as_many_as_the_share_allows(share: float, stride: int, groups: int) -> None:
    convolution = dense(24, 48, 3, stride=stride, padding=1, groups=groups, bias=False)
    built = answer(tucker.TuckerBuilder(share), nn.Sequential(convolution))
    whole, part = (macs(module, (24, 16, 16)) for module in (convolution, built))
    assert 0.75 * share <= part / whole <= share


def of_ranks(first: int, last: int) -> nn.Conv2d:
    """Return a convolution whose kernel has these ranks, with equal singular values."""
    core = torch.linalg.qr(torch.randn(last * 9, max(first, 1)))[0].reshape(last, 3, 3, first)
    down, up = torch.linalg.qr(torch.randn(16, first))[0], torch.linalg.qr(torch.randn(16, last))[0]
    convolution = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    convolution.weight.data = torch.einsum("bhwa,ia,ob->oihw", core, down, up).contiguous()
    return convolution


def test_a_convolution_gets_the_ranks_that_its_energy_needs_or_stays() -> None:
    torch.manual_seed(0)
    segment = nn.Sequential(of_ranks(3, 2), nn.Conv2d(16, 16, 3, padding=1))
    built = answer(tucker.TuckerBuilder(energy=0.999), segment)
    assert isinstance(built, Built)
    assert built.options == {"ranks": [3, 2, 0, 0]}
    assert [type(part) for part in built.module.children()] == [nn.Sequential, nn.Conv2d]
    x = torch.randn(2, 16, 8, 8)
    assert torch.allclose(built.module(x), segment(x), atol=1e-4)
    again = answer(tucker.TuckerBuilder(ranks=[3, 2, 0, 0]), segment)
    assert again.state_dict().keys() == built.module.state_dict().keys()
    assert answer(tucker.TuckerBuilder(energy=1.0), nn.Sequential(dense(16, 16, 3))) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"share": 0.0}, "'builder.share' is 0.0, but must be above 0 and at most 1."),
        ({"energy": 2.0}, "'builder.energy' is 2.0, but must be above 0 and at most 1."),
        ({"energy": 0.5, "share": 0.5}, "'builder.energy' and 'builder.share' exclude each other"),
        ({"ranks": [1, -1]}, "but none may be below 0."),
        ({"ranks": [1]}, "has 1 numbers, but 'block0' has 1 dense convolutions, each of which"),
    ],
)
def test_an_option_that_is_wrong_is_an_error(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        answer(tucker.TuckerBuilder(**options), nn.Sequential(dense(8, 8, 3)))
