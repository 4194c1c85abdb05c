from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import PluginError
from pbkd.training.features import run_with_features


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.unused = nn.ReLU(), nn.ReLU()
        self.pair, self.flat = _Pair(), nn.Flatten(0)

    def forward(self, x: Tensor) -> Tensor:
        self.pair(x)
        y: Tensor = self.relu(self.relu(x)) + 0 * self.flat(x).sum()
        return y


class _Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("relv", "has no module 'relv'. Did you mean 'relu'. Known: flat, pair, relu, unused."),
        ("", "it has no module ''."),
        ("forward", "it has no module 'forward'."),
        ("relu", "it calls its module 'relu' 2 times in a forward pass"),
        ("unused", "it calls its module 'unused' 0 times in a forward pass"),
        ("pair", "the module 'pair' of it gives tuple, not one tensor: choose another."),
        ("flat", r"the module 'flat' of it gives the shape \(8,\) for 2 rows"),
    ],
)
def test_a_module_that_is_no_feature(name: str, told: str) -> None:
    network = _Twice()
    with pytest.raises(PluginError, match=told):
        run_with_features(network, network, torch.rand(2, 4), [name], "it")
    assert not any(module._forward_hooks for module in network.modules())
