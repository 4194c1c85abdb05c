from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from timm.layers.cond_conv2d import CondConv2d
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, fx, nn
from torch.nn import functional

from pbkd import dense_convolutions
from pbkd.models.plain_convolutions import plain_convolutions

if TYPE_CHECKING:
    from collections.abc import Callable


def apply(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    output: Tensor = layer._conv_forward(x, weight, bias)
    return output


class Named(nn.Conv2d):
    """A convolution with a constructor of its own."""


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return apply(self, x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Equalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * 0.1, stride=2, padding=1)


class Masked(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.data[:, :, 1] = 0
        return super().forward(x)


class Activated(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Dynamic(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return apply(self, x, self.weight * x.mean(), self.bias)


class Twice(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + super().forward(x)


MADE_PLAIN: list[Callable[[], nn.Module]] = [
    lambda: Named(8, 8, (3, 5), groups=2),
    lambda: Standardised(8, 8, 3, padding="same"),
    Equalised,
    lambda: Masked(8, 8, 3, dilation=2, bias=False),
    lambda: StdConv2d(8, 8, 3, padding=1),
    lambda: ScaledStdConv2d(8, 8, 3, padding=1),
    lambda: StdConv2dSame(8, 8, 3, stride=2, padding="SAME"),
    lambda: ScaledStdConv2dSame(8, 8, 3, stride=2, padding="SAME"),
    lambda: Conv2dSame(8, 8, 5, stride=2),
    lambda: Conv2dSame(8, 8, 3, dilation=2, groups=4),
]
KEPT: list[Callable[[], nn.Module]] = [
    lambda: nn.Conv2d(8, 8, 3),
    lambda: nn.ConvTranspose2d(8, 8, 3),
    lambda: Activated(8, 8, 3),
    lambda: Dynamic(8, 8, 3),
    lambda: Twice(8, 8, 3),
    lambda: CondConv2d(8, 8, 3),
]


@pytest.mark.parametrize("make", MADE_PLAIN)
@pytest.mark.parametrize("size", [(16, 16), (17, 14)])
def test_it_computes_the_same_by_a_convolution_that_builders_find(
    make: Callable[[], nn.Module], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(make()).eval()
    images = torch.randn(2, 8, *size)
    expected = network(images)
    assert plain_convolutions(network) == [type(make()).__name__]
    torch.testing.assert_close(network(images), expected)
    assert len(list(dense_convolutions(network))) == 1
    torch.testing.assert_close(fx.symbolic_trace(network)(images), expected)


@pytest.mark.parametrize("make", KEPT)
def test_what_is_no_convolution_with_fixed_weights_is_kept(make: Callable[[], nn.Module]) -> None:
    network = nn.Sequential(make()).eval()
    before = network[0]
    assert plain_convolutions(network) == []
    assert network[0] is before


def test_a_layer_that_is_used_twice_stays_one() -> None:
    layer = Standardised(8, 8, 3)
    network: Any = nn.Sequential(layer, nn.ReLU(), layer).eval()
    assert plain_convolutions(network) == ["Standardised"]
    assert network[0] is network[2]


def test_the_random_numbers_of_the_program_are_not_used_up() -> None:
    state = torch.get_rng_state()
    network = nn.Sequential(Equalised())
    torch.set_rng_state(state)
    plain_convolutions(network)
    assert torch.equal(torch.get_rng_state(), state)
