from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pbkd.models.chain import check_chain
from pbkd.models.traced_network import TracedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable


class Net(nn.Module):
    """Two convolutions, each followed by an operation on its result."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.silu = nn.ReLU(inplace=True), nn.SiLU(inplace=True)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        x = self.change(self.second(self.change(self.first(x))))
        return x.mean((2, 3))


def assign(x: Tensor) -> Tensor:
    x[:, 0] = 0
    return x


def assign_scaled(x: Tensor) -> Tensor:
    x[:, :, 0] *= 2
    return x


def through_view(x: Tensor) -> Tensor:
    x.view(-1).clamp_(0, 1)
    return x


def through_dropout(x: Tensor) -> Tensor:
    return functional.dropout(x, 0.5, training=False).relu_()


def out(x: Tensor) -> Tensor:
    return torch.clamp(x, 0, 1, out=x)


def ignored_result(x: Tensor) -> Tensor:
    x.add_(1).mul_(2)
    return x


CHANGES: list[Callable[[Tensor], Tensor]] = [
    torch.relu_,
    torch.sigmoid_,
    torch.exp_,
    lambda x: torch.clamp_(x, 0, 6),
    functional.relu_,
    functional.leaky_relu_,
    functional.elu_,
    functional.hardtanh_,
    lambda x: functional.silu(x, True),
    lambda x: functional.hardswish(x, inplace=True),
    lambda x: functional.leaky_relu(x, 0.1, True),
    nn.ReLU(inplace=True),
    nn.SiLU(inplace=True),
    lambda x: x.mul_(2),
    lambda x: x.sub_(1).relu_(),
    lambda x: x.copy_(x * 2),
    lambda x: cast("Any", operator).itruediv(x, 2),
    lambda x: cast("Any", operator).iadd(x, 1),
    lambda x: cast("Any", operator).ipow(x, 2),
    assign,
    assign_scaled,
    through_view,
    through_dropout,
    out,
    ignored_result,
]


@pytest.mark.parametrize("change", CHANGES)
def test_no_cut_lets_a_segment_change_its_input(change: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    network = Net(change).eval()
    images = torch.randn(2, 1, 6, 6)
    traced: Any = TracedNetwork(network)
    chain, start = nn.Sequential(), 0
    for index, node in enumerate(traced.nodes):
        if node in traced.cuts:  # wherever it can be cut
            chain.append(traced.segment(traced.nodes[start : index + 1]))
            start = index + 1
    assert len(chain) > 2 or change is through_view
    check_chain(network, chain, images)


@pytest.mark.parametrize("change", [torch.relu_, assign, through_view, lambda x: x.sub_(0.5)])
def test_images_that_a_network_changes_are_copied(change: Callable[[Tensor], Tensor]) -> None:
    class Changing(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(change(x))

    network = Changing(torch.relu).eval()
    images = torch.randn(2, 1, 6, 6)
    traced = TracedNetwork(network)
    segment = traced.segment(traced.nodes)
    before = images.clone()
    output = segment(images)
    assert torch.equal(images, before)
    torch.testing.assert_close(output, network(images))
