from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from pbkd_low_rank import LowRankBuilder, input_roots, register_builders, thin_pair
from pbkd_zoo.resnet import BasicBlock
from torch import Tensor, nn

from pbkd import Built
from pbkd.errors import ConfigError
from pbkd.testing import check_builder, describe_blocks, macs


def dense(*args: Any, **options: Any) -> nn.Conv2d:
    """Return a convolution with fixed random weights in double precision."""
    torch.manual_seed(0)
    return nn.Conv2d(*args, **options).double()


def kernel_of(pair: nn.Sequential) -> Tensor:
    """Return the dense kernel, (out, in, height, width), that a pair amounts to."""
    tall, wide = (cast("nn.Conv2d", layer).weight.detach() for layer in pair)
    return torch.einsum("mih,omw->oihw", tall[..., 0], wide[:, :, 0])


def build(
    builder: LowRankBuilder, segment: nn.Module, channels: int, calibration: Tensor | None = None
) -> nn.Module | None:
    built = answer(builder, segment, channels, calibration)
    return built.module if isinstance(built, Built) else built


def answer(
    builder: LowRankBuilder, segment: nn.Module, channels: int, calibration: Tensor | None = None
) -> nn.Module | Built | None:
    chain = nn.Sequential()
    chain.add_module("block0", segment)
    (block,) = describe_blocks(chain, torch.zeros(1, channels, 8, 8), ["block0"])
    return builder.build(segment, block, calibration)


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


@pytest.mark.parametrize("options", [{}, {"energy": 0.8}, {"energy": 0.9, "whiten": True}], ids=str)
def test_it_keeps_the_contract(options: dict[str, Any]) -> None:
    check_builder(LowRankBuilder(**options))
    assert register_builders() == [LowRankBuilder]


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kernel", [3, (3, 5)], ids=["3x3", "3x5"])
def test_full_rank_is_exact_in_every_geometry(kernel: Any, options: dict[str, Any]) -> None:
    convolution = dense(4, 6, kernel, **options)
    images = torch.randn(2, 4, 11, 11, dtype=torch.float64)
    root = input_roots(nn.Sequential(convolution), {"0": convolution}, images)["0"]
    for pair in (thin_pair(convolution, 100).double(), thin_pair(convolution, 100, root).double()):
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
        ({"energy": 1.5}, "'builder.energy' is 1.5, but must be above 0 and at most 1."),
        (
            {"energy": 0.9, "share": 0.3},
            "'builder.energy' and 'builder.share' exclude each other: set one.",
        ),
        ({"ranks": [2, -1]}, "'builder.ranks' is [2, -1], but none may be below 0."),
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


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_whitening_makes_the_error_of_the_outputs_smaller(options: dict[str, Any]) -> None:
    convolution = dense(4, 6, 3, **options)
    base = torch.randn(60, 4, 11, 11, dtype=torch.float64)
    images = base.mul(torch.tensor([4.0, 1.0, 0.3, 0.1])[:, None, None]).cumsum(2)  # correlated
    root = input_roots(nn.Sequential(convolution), {"0": convolution}, images)["0"]
    exact = convolution(images)
    plain, whitened = (
        (thin_pair(convolution, 2, given).double()(images) - exact).norm() for given in (None, root)
    )
    assert whitened < 0.8 * plain


def test_its_inputs_are_the_columns_that_a_convolution_sees() -> None:
    convolution = dense(2, 3, 3, padding=1)
    images = torch.randn(40, 2, 5, 5, dtype=torch.float64)
    root = input_roots(nn.Sequential(convolution), {"0": convolution}, images)["0"][0]
    padded = torch.nn.functional.pad(images, (0, 0, 1, 1)).unfold(2, 3, 1)  # (N, C, H, W, row)
    columns = padded.permute(1, 4, 0, 2, 3).reshape(6, -1)
    moments = columns @ columns.mT
    assert torch.allclose(root @ root, moments / moments.diagonal().mean(), atol=1e-5)


def with_energies(values: list[float]) -> nn.Conv2d:
    """Return a convolution whose kernel has these squared singular values as a matrix."""
    convolution = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    left, _, right = torch.linalg.svd(torch.randn(24, 24))
    scale = torch.zeros(24)
    scale[: len(values)] = torch.tensor(values).sqrt()
    matrix = left @ scale.diag() @ right
    convolution.weight.data = matrix.reshape(8, 3, 8, 3).permute(2, 0, 1, 3).contiguous()
    return convolution


@pytest.mark.parametrize(
    ("energy", "multiple", "rank"),
    [(0.4, 1, 1), (0.5, 1, 2), (0.8, 1, 2), (0.85, 1, 3), (0.85, 4, 4), (0.1, 8, 8), (1.0, 16, 0)],
)
def test_a_convolution_gets_the_channels_that_its_energy_needs(
    energy: float, multiple: int, rank: int
) -> None:
    segment = nn.Sequential(with_energies([4.1, 4.1, 0.9, 0.9]), nn.Conv2d(8, 8, 1))
    built = answer(LowRankBuilder(energy=energy, multiple=multiple), segment, 8)
    if rank == 0:
        assert built is None
        return
    assert isinstance(built, Built)
    assert built.options == {"ranks": [rank]}


def test_a_convolution_that_a_pair_would_not_make_cheaper_stays() -> None:
    torch.manual_seed(0)
    segment = nn.Sequential(with_energies([1.0]), nn.Conv2d(8, 8, 3, padding=1))
    built = answer(LowRankBuilder(energy=0.999), segment, 8)
    assert isinstance(built, Built)
    assert built.options == {"ranks": [1, 0]}
    assert [type(part) for part in built.module.children()] == [nn.Sequential, nn.Conv2d]
    again = build(LowRankBuilder(energy=0.999, ranks=[1, 0]), segment, 8)
    assert again is not None
    assert again.state_dict().keys() == built.module.state_dict().keys()


def test_ranks_must_be_as_many_as_convolutions() -> None:
    with pytest.raises(ConfigError, match="has 2 numbers, but 'block0' has 1 dense convolutions"):
        build(LowRankBuilder(ranks=[1, 2]), nn.Sequential(nn.Conv2d(8, 8, 3)), 8)


def test_inputs_that_are_all_zero_are_no_reason_to_whiten() -> None:
    segment = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))
    zeros = torch.zeros(4, 8, 8, 8)
    plain, whitened = (
        build(LowRankBuilder(whiten=whiten), segment, 8, zeros) for whiten in (False, True)
    )
    assert plain is not None
    assert whitened is not None
    for one, other in zip(plain.parameters(), whitened.parameters(), strict=True):
        assert torch.equal(one, other)


def test_kernels_of_the_same_content_are_decomposed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decompose, shapes = torch.linalg.svd, []

    def counted(matrices: Tensor, **options: Any) -> Any:
        shapes.append(tuple(matrices.shape))
        return decompose(matrices, **options)

    monkeypatch.setattr("torch.linalg.svd", counted)
    torch.manual_seed(3)
    kernel = nn.Conv2d(3, 5, 3)
    first = thin_pair(kernel, 2)
    again = thin_pair(copy.deepcopy(kernel), 2)
    assert shapes == [(1, 9, 15)]
    for name, weight in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    with torch.no_grad():
        kernel.weight[0, 0, 0, 0] += 1
    assert not torch.equal(kernel_of(thin_pair(kernel, 2)), kernel_of(first))
    assert thin_pair(kernel, 1)[0].out_channels == 1
    assert len(shapes) == 2  # other channels come from the same decomposition
