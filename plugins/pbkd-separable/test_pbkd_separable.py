from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from pbkd_separable import DecoupledConv2d, SeparableBuilder, register_builders
from pbkd_zoo.resnet import BasicBlock
from torch import Tensor, nn

from pbkd.errors import ConfigError
from pbkd.testing import check_builder, describe_blocks, macs, parameters, tiny_segment


def dense(*args: Any, **options: Any) -> nn.Conv2d:
    """Return a convolution with fixed random weights in double precision."""
    torch.manual_seed(0)
    return nn.Conv2d(*args, **options).double()


def kernel_of(decoupled: DecoupledConv2d) -> Tensor:
    """Return the dense kernel, (out, in, height, width), that the pair of layers amounts to."""
    pointwise = decoupled.pointwise.weight[:, :, 0, 0]
    parts = pointwise.chunk(len(decoupled.depthwise), dim=1)
    depthwise = [cast("nn.Conv2d", layer).weight[:, 0] for layer in decoupled.depthwise]
    pairs = zip(parts, depthwise, strict=True)
    return torch.stack([torch.einsum("oi,ihw->oihw", p, d) for p, d in pairs]).sum(0).detach()


def build(builder: SeparableBuilder, segment: nn.Module) -> nn.Module | None:
    chain = nn.Sequential()
    chain.add_module("block0", segment)
    first = next(module for module in segment.modules() if isinstance(module, nn.Conv2d))
    (block,) = describe_blocks(chain, torch.zeros(1, first.in_channels, 8, 8), ["block0"])
    return builder.build(segment, block)


def kinds(module: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in module.modules() if not list(layer.children())]


@pytest.mark.parametrize("form", ["decoupled", "paper"])
def test_it_keeps_the_contract(form: str) -> None:
    check_builder(SeparableBuilder(form=form))


@pytest.mark.parametrize(
    ("kernel", "rank"), [(3, 9), (3, 100), (5, 25), ((1, 7), 7)], ids=["3x3", "more", "5x5", "1x7"]
)
@pytest.mark.parametrize("out_channels", [4, 16])
def test_full_rank_is_exact(kernel: Any, rank: int, out_channels: int) -> None:
    convolution = dense(3, out_channels, kernel)
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    decoupled = DecoupledConv2d(convolution, rank).double()
    # The decoupling is made in single precision and rounds there.
    assert torch.allclose(decoupled(images), convolution(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
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
def test_the_geometry_and_the_bias_are_the_teachers(options: dict[str, Any]) -> None:
    convolution = dense(4, 6, 3, **options)
    decoupled = DecoupledConv2d(convolution, 9).double()
    images = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    assert torch.allclose(decoupled(images), convolution(images), rtol=0, atol=1e-5)
    assert (decoupled.pointwise.bias is None) == (convolution.bias is None)


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_the_error_of_a_rank_is_the_discarded_singular_values(rank: int) -> None:
    convolution = dense(3, 8, 3)
    slices = convolution.weight.detach().flatten(2).permute(1, 0, 2)
    discarded = torch.linalg.svdvals(slices)[:, rank:]
    error = kernel_of(DecoupledConv2d(convolution, rank)) - convolution.weight.detach()
    expected = discarded.square().sum().sqrt().item()
    assert expected > 0.1
    assert error.norm().item() == pytest.approx(expected, abs=1e-5)


def test_rank_one_keeps_the_larger_of_two_directions() -> None:
    convolution = dense(1, 2, 3, bias=False)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[0, 0, 0, 0] = 3
        convolution.weight[1, 0, 1, 1] = 4
    expected = convolution.weight.detach().clone()
    expected[0] = 0  # singular values 4 and 3: the second is lost with its output channel
    assert torch.allclose(kernel_of(DecoupledConv2d(convolution, 1)).double(), expected, atol=1e-6)


def test_every_rank_is_one_plain_depthwise_convolution() -> None:
    decoupled = DecoupledConv2d(nn.Conv2d(4, 6, 3, stride=2, padding=1), 3)
    layers = [cast("nn.Conv2d", layer) for layer in decoupled.depthwise]
    assert [(x.in_channels, x.out_channels, x.groups, x.stride) for x in layers] == [
        (4, 4, 4, (2, 2))
    ] * 3
    assert decoupled.pointwise.in_channels == 12
    assert decoupled.pointwise.stride == (1, 1)
    assert decoupled(torch.randn(2, 4, 8, 8)).shape == (2, 6, 4, 4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_its_share_of_the_macs_is_rank_times_a_ninth_and_one_by_out(rank: int) -> None:
    convolution = nn.Conv2d(8, 16, 3, padding=1, bias=False)
    decoupled = DecoupledConv2d(convolution, rank)
    # 6 x 6 positions, each 9 * 8 * 16 before; 9 * 8 + 8 * 16 for every rank after.
    before, after = macs(convolution, (8, 6, 6)), macs(decoupled, (8, 6, 6))
    assert (before, after) == (36 * 1152, 36 * rank * 200)
    assert after / before == pytest.approx(rank * (1 / 9 + 1 / 16))
    assert (parameters(convolution), parameters(decoupled)) == (1152, rank * 200)


def test_the_other_layers_start_with_the_teachers_weights() -> None:
    segment = tiny_segment().eval()
    replacement = build(SeparableBuilder(), segment)
    assert isinstance(replacement, nn.Sequential)
    assert [type(layer) for layer in replacement] == [
        *(DecoupledConv2d, nn.BatchNorm2d, nn.ReLU),
        *(DecoupledConv2d, nn.BatchNorm2d, nn.ReLU),
    ]
    wanted = {k: v for k, v in segment.state_dict().items() if k.startswith(("1.", "4."))}
    assert len(wanted) == 10
    assert all(torch.equal(replacement.state_dict()[key], wanted[key]) for key in wanted)


def test_a_full_rank_replacement_computes_what_the_block_computes() -> None:
    torch.manual_seed(0)
    segment = BasicBlock(8, 16, stride=2).eval()
    replacement = build(SeparableBuilder(rank=9), segment)
    assert replacement is not None
    images = torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        output, expected = replacement(images), segment(images)
    # Shortcut, stride and last activation are there, or this would not hold.
    assert expected.min() == 0 < expected.max()
    assert torch.allclose(output, expected, rtol=0, atol=1e-5)


def test_the_teachers_segment_stays_as_it_is() -> None:
    segment = tiny_segment().eval()
    before = {name: tensor.clone() for name, tensor in segment.state_dict().items()}
    build(SeparableBuilder(form="paper", repeats=2), segment)
    assert kinds(segment) == ["Conv2d", "BatchNorm2d", "ReLU"] * 2
    assert all(torch.equal(before[name], tensor) for name, tensor in segment.state_dict().items())


class ScaledConv2d(nn.Conv2d):
    """A convolution of another kind, such as timm's weight-standardised one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / math.sqrt(x.shape[1])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 1),
        ScaledConv2d(8, 8, 3),
    ],
    ids=["depthwise", "pointwise", "another kind"],
)
@pytest.mark.parametrize("form", ["decoupled", "paper"])
def test_only_dense_spatial_convolutions_are_replaced(layer: nn.Conv2d, form: str) -> None:
    builder = SeparableBuilder(form=form)
    assert build(builder, nn.Sequential(layer, nn.ReLU())) is None
    mixed = build(builder, nn.Sequential(layer, nn.Conv2d(8, 8, 3, padding=1)))
    assert isinstance(mixed, nn.Sequential)
    assert type(mixed[0]) is type(layer)
    assert torch.equal(mixed[0].weight, layer.weight)
    assert type(mixed[1]) is not nn.Conv2d


PAIR = ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU"]


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_the_papers_form_repeats_its_pair_and_ends_with_the_blocks_own_layers(repeats: int) -> None:
    segment = nn.Sequential(nn.Conv2d(5, 6, 3, stride=2, padding=1), nn.ReLU())
    replacement = build(SeparableBuilder(form="paper", repeats=repeats), segment)
    assert replacement is not None
    # The very last ReLU is the block's own.
    assert kinds(replacement) == PAIR * repeats
    convolutions = [m for m in replacement.modules() if isinstance(m, nn.Conv2d)]
    assert [
        (c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.groups)
        for c in convolutions
    ] == [
        (5, 5, 3, 2, 5),
        (5, 6, 1, 1, 1),
        *([(6, 6, 3, 1, 6), (6, 6, 1, 1, 1)] * (repeats - 1)),
    ]
    assert all(convolution.bias is None for convolution in convolutions)
    assert replacement(torch.randn(2, 5, 8, 8)).shape == (2, 6, 4, 4)


def test_the_papers_form_knows_nothing_of_the_teachers_kernels() -> None:
    first, second = nn.Conv2d(5, 6, 3), nn.Conv2d(5, 6, 3)
    replacements = []
    for convolution in (first, second):
        torch.manual_seed(0)
        replacements.append(build(SeparableBuilder(form="paper"), nn.Sequential(convolution)))
    one, other = (r.state_dict() for r in replacements if r is not None)
    assert not torch.equal(first.weight, second.weight)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_it_is_registered() -> None:
    assert [builder.name for builder in register_builders()] == ["separable"]


@pytest.mark.parametrize("rank", [1, 9])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2, "padding": 2}], ids=str)
def test_a_wider_kernel_starts_as_the_narrow_one(rank: int, options: dict[str, Any]) -> None:
    convolution = dense(4, 6, 3, **{"padding": 1, **options})
    images = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    narrow, wide = (DecoupledConv2d(convolution, rank, width).double() for width in (0, 5))
    assert cast("nn.Conv2d", wide.depthwise[0]).kernel_size == (5, 5)
    assert torch.allclose(wide(images), narrow(images), rtol=0, atol=1e-6)


def test_a_residual_form_of_full_rank_is_exact_and_beside_the_identity_where_shapes_allow() -> None:
    block = BasicBlock(6, 12, stride=2).eval()
    built = build(SeparableBuilder(rank=9, residual=True), block)
    assert built is not None
    assert [type(built.get_submodule(name)).__name__ for name in ("conv1", "conv2")] == [
        "DecoupledConv2d",
        "Residual",
    ]
    images = torch.randn(2, 6, 8, 8)
    assert torch.allclose(built.eval()(images), block(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("init", ["teacher", "kept", "random"])
def test_what_starts_from_the_teacher(init: str) -> None:
    segment = tiny_segment()
    built = build(SeparableBuilder(rank=9, init=init), segment)
    assert built is not None
    images = torch.rand(2, 8, 6, 6)
    close = torch.allclose(built.eval()(images), segment.eval()(images), rtol=1e-3, atol=1e-3)
    norms = (cast("nn.BatchNorm2d", some.get_submodule("1")) for some in (built, segment))
    assert torch.equal(*(norm.weight for norm in norms)) == (init != "random")
    assert close == (init == "teacher")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "dense"}, "'builder.form' is 'dense', but must be decoupled or paper."),
        ({"rank": 0}, "'builder.rank' and 'builder.repeats' must be at least 1."),
        ({"repeats": 0}, "'builder.rank' and 'builder.repeats' must be at least 1."),
        ({"init": "svd"}, "'builder.init' is 'svd', but must be one of teacher, kept, random."),
        ({"kernel": 4}, "'builder.kernel' is 4, but must be odd, or 0."),
        ({"kernel": -1}, "'builder.kernel' is -1, but must be odd, or 0."),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SeparableBuilder(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("form", ["decoupled", "paper"])
def test_a_convolution_of_groups_becomes_cheaper(form: str) -> None:
    convolution = nn.Conv2d(16, 32, 3, padding=1, groups=2, bias=False)
    built = build(SeparableBuilder(form=form), nn.Sequential(convolution))
    assert built is not None
    assert macs(built, (16, 8, 8)) == 64 * (16 * 9 + 16 * 32 // 2)
    assert macs(built, (16, 8, 8)) < macs(convolution, (16, 8, 8)) / 3


def test_beside_the_identity_a_convolution_of_groups_is_exact() -> None:
    convolution = nn.Conv2d(8, 8, 3, padding=1, groups=2)
    built = build(SeparableBuilder(rank=9, residual=True), nn.Sequential(convolution))
    assert built is not None
    images = torch.randn(2, 8, 6, 6)
    assert torch.allclose(built(images), convolution(images), rtol=0, atol=1e-5)
