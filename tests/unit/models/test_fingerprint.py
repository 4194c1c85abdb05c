"""The fingerprint of a network's weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pbkd.models.weights import fingerprint
from tests.unit.models.test_weights import network


def flip_one_bit(tensor: Tensor) -> None:
    tensor.view(torch.uint8).view(-1)[-1] ^= 1


@pytest.mark.parametrize("key", list(network().state_dict()))
def test_one_bit_changes_the_fingerprint(key: str) -> None:
    net = network()
    before = fingerprint(net)
    tensor = net.state_dict()[key]
    flip_one_bit(tensor.unsqueeze(0) if tensor.ndim == 0 else tensor)
    assert fingerprint(net) != before


def test_a_buffer_that_is_not_saved_counts_too() -> None:
    net = network()
    net.register_buffer("scratch", torch.zeros(3), persistent=False)
    before = fingerprint(net)
    net.get_buffer("scratch")[1] = 1
    assert fingerprint(net) != before


def test_names_count_in_the_fingerprint() -> None:
    layer = nn.Linear(2, 2)
    assert fingerprint(nn.ModuleDict({"a": layer})) != fingerprint(nn.ModuleDict({"b": layer}))


def test_the_fingerprint_depends_on_values_alone() -> None:
    net = network()
    before = fingerprint(net)
    assert len(before) == 64
    assert fingerprint(copy.deepcopy(net)) == before
    assert fingerprint(copy.deepcopy(net).to(memory_format=torch.channels_last)) == before
    assert fingerprint(copy.deepcopy(net).eval().requires_grad_(False)) == before
    assert fingerprint(copy.deepcopy(net).to(torch.bfloat16)) != before
