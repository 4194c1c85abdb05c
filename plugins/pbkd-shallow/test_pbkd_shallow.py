from __future__ import annotations

import pytest
import torch
from pbkd_resnet import ResnetPartitioner
from pbkd_shallow import ShallowBuilder, register_builders
from pbkd_zoo.resnet import resnet20
from torch import nn

from pbkd import Block, Built
from pbkd.errors import ConfigError
from pbkd.testing import check_builder, describe_blocks, macs

SHAPE = (3, 32, 32)


class Residual(nn.Module):
    """Adds to its input what two convolutions make of it, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1))
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = x + self.factor * self.layers(x)
        return output


def stage(*factors: float) -> nn.Sequential:
    torch.manual_seed(0)
    parts = nn.Sequential(*map(Residual, factors))
    return nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), parts).eval()


def build(network: nn.Module, calibration: torch.Tensor | None = None, **options: float) -> Built:
    block = Block("stage", 0, (8, 6, 6), (8, 6, 6))
    built = ShallowBuilder(**options).build(network, block, calibration)  # type: ignore[arg-type]
    assert built is not None
    return built


def test_it_keeps_the_contract() -> None:
    check_builder(ShallowBuilder(), stage(1.0, 1.0, 1.0), (8, 6, 6))
    check_builder(ShallowBuilder(left_out=[1]), stage(1.0, 1.0, 1.0), (8, 6, 6))
    assert register_builders() == [ShallowBuilder]


def test_what_changes_least_is_left_out_and_the_rest_computes_as_before() -> None:
    network, x = stage(1.0, 0.01, 2.0, 0.02), torch.randn(16, 8, 6, 6)
    built = build(network, x)
    assert built.options == {"left_out": [1, 3]}
    parts = network[2]
    assert isinstance(parts, nn.Sequential)
    wanted = parts[2](parts[0](network[:2](x)))
    assert torch.equal(built.module(x), wanted)
    assert build(network, x, share=0.75).options == {"left_out": [1]}
    assert build(network, x, share=0.01).options == {"left_out": [0, 1, 3]}  # one is always kept


def test_stages_of_a_resnet_have_fewer_blocks_except_the_one_that_shrinks_the_map() -> None:
    chain = ResnetPartitioner(granularity="stage").partition(resnet20().eval())
    images = torch.randn(4, *SHAPE)
    left_out = {}
    for block in describe_blocks(chain, images[:1], ["layer1", "layer2"]):
        segment = chain[block.position]
        x = chain[: block.position](images)
        built = ShallowBuilder().build(segment, block, x)
        assert built is not None
        left_out[block.name] = built.options["left_out"]
        share = macs(built.module, block.input_shape) / macs(segment, block.input_shape)
        assert 0.3 < share < 0.7
        assert built.module(x).shape[1:] == block.output_shape
    assert [len(positions) for positions in left_out.values()] == [1, 1]  # of three, and of two


@pytest.mark.parametrize("network", [stage(1.0), nn.Sequential(nn.Conv2d(8, 8, 3, padding=1))])
def test_what_has_no_two_such_parts_keeps_its_layers(network: nn.Module) -> None:
    assert ShallowBuilder().build(network, Block("stage", 0, (8, 6, 6), (8, 6, 6))) is None


def test_wrong_options_are_told() -> None:
    with pytest.raises(ConfigError, match=r"'builder.share' is 1, but must be above 0 and below"):
        ShallowBuilder(share=1)
    with pytest.raises(ConfigError, match="none may be below 0"):
        ShallowBuilder(left_out=[-1])
    with pytest.raises(ConfigError, match="'stage' has 2 parts that can be left out"):
        ShallowBuilder(left_out=[2]).build(stage(1, 1), Block("stage", 0, (8, 6, 6), (8, 6, 6)))
