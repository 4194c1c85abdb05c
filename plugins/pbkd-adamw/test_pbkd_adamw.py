from __future__ import annotations

import torch
from pbkd_adamw import AdamWBuilder, register_optimisers
from torch import nn

from pbkd.testing import check_optimiser

PARAMETERS = [nn.Parameter(torch.zeros(2))]


def test_it_keeps_the_contract() -> None:
    check_optimiser(AdamWBuilder())


def test_it_is_torchs_with_its_options() -> None:
    built = AdamWBuilder(betas=(0.8, 0.9), eps=1e-6).build(PARAMETERS, 0.1, 0.5)
    assert type(built) is torch.optim.AdamW
    wanted = {"lr": 0.1, "weight_decay": 0.5, "betas": (0.8, 0.9), "eps": 1e-6, "fused": True}
    assert wanted.items() <= built.param_groups[0].items()


def test_it_is_registered() -> None:
    assert [optimiser.name for optimiser in register_optimisers()] == ["adamw"]
