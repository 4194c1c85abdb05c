from __future__ import annotations

import torch
from pbkd_torch_engine import TorchEngine, register_engines
from torch import nn

from pbkd.testing import check_engine


def test_it_keeps_the_contract() -> None:
    check_engine(TorchEngine())


def test_the_network_stays_as_it_is() -> None:
    network = nn.Flatten()
    assert TorchEngine().prepare(network, torch.rand(1, 2), 1) is network


def test_it_is_registered() -> None:
    assert register_engines() == [TorchEngine]
