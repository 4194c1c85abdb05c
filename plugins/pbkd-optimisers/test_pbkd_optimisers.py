from __future__ import annotations

import pytest
import torch
from pbkd_optimisers import SGD, AdamW, register_optimisers
from torch import nn

from pbkd.errors import ConfigError
from pbkd.testing import check_optimiser

PARAMETERS = [nn.Parameter(torch.zeros(2))]


@pytest.mark.parametrize("optimiser", [AdamW(), SGD(), SGD(momentum=0.0, nesterov=False)])
def test_they_keep_the_contract(optimiser: AdamW | SGD) -> None:
    check_optimiser(optimiser)


def test_adamw_is_torchs_with_its_options() -> None:
    built = AdamW(betas=(0.8, 0.9), eps=1e-6).build(PARAMETERS, 0.1, 0.5)
    assert type(built) is torch.optim.AdamW
    wanted = {"lr": 0.1, "weight_decay": 0.5, "betas": (0.8, 0.9), "eps": 1e-6, "fused": True}
    assert wanted.items() <= built.param_groups[0].items()


def test_sgd_is_torchs_with_its_options() -> None:
    built = SGD().build(PARAMETERS, 0.1, 0.5)
    assert type(built) is torch.optim.SGD
    wanted = {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.9, "nesterov": True, "fused": True}
    assert wanted.items() <= built.param_groups[0].items()
    plain = SGD(momentum=0.5, nesterov=False).build(PARAMETERS, 0.1, 0.0)
    assert (plain.param_groups[0]["momentum"], plain.param_groups[0]["nesterov"]) == (0.5, False)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ConfigError, match="set nesterov=false"):
        SGD(momentum=0.0)


def test_they_are_registered() -> None:
    assert [optimiser.name for optimiser in register_optimisers()] == ["adamw", "sgd"]  # type: ignore[attr-defined]
