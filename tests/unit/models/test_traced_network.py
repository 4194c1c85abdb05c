from __future__ import annotations

import operator

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import ChainError
from pbkd.models.traced_network import TracedNetwork


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x


class Small(nn.Module):
    """A layer, a residual sum over `inner`, and a head that reshapes to the first batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.last = nn.Linear(4 * 6 * 6, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        x = x + self.inner(x)
        result: Tensor = self.last(x.view(images.size(0), -1))
        return result


def test_the_operations_and_their_modules() -> None:
    network = Small()
    traced = TracedNetwork(network)
    layers = [traced.layer(node) for node in traced.nodes]
    assert layers[:3] == [network.first, network.inner[0], network.inner[1]]
    assert layers[3] is None
    assert traced.nodes[3].target is operator.add
    assert layers[-1] is network.last
    assert traced.positions["inner"] == [1, 2]


def test_a_residual_sum_rules_out_cuts_inside() -> None:
    traced = TracedNetwork(Small())
    assert [node in traced.cuts for node in traced.nodes[:4]] == [True, False, False, True]
    assert traced.span("first") == (0, 0)
    assert traced.span("inner") is None
    assert traced.span("missing") is None


def test_segments_compute_what_the_network_computes() -> None:
    network = Small().eval()
    traced = TracedNetwork(network)
    images = torch.randn(2, 3, 8, 8)
    first, rest = traced.segment(traced.nodes[:4]), traced.segment(traced.nodes[4:])
    assert torch.equal(rest(first(images)), network(images))
    assert first.get_submodule("first") is network.first


def test_a_leaf_module_is_one_operation() -> None:
    network = nn.Sequential(Double(), Double())
    assert len(TracedNetwork(network).nodes) == 2
    (first, second) = TracedNetwork(network, leaf_modules=[Double]).nodes
    assert (first.op, second.op) == ("call_module", "call_module")


def test_a_network_of_several_inputs_is_an_error() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(ChainError, match="missing 1 required positional argument: 'y'"):
        TracedNetwork(Pair())
