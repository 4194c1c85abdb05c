from __future__ import annotations

import pytest
import torch
from pbkd_sgd import SgdBuilder, register_optimisers
from torch import nn

from pbkd.errors import ConfigError
from pbkd.testing import check_optimiser

PARAMETERS = [nn.Parameter(torch.zeros(2))]


@pytest.mark.parametrize("optimiser", [SgdBuilder(), SgdBuilder(momentum=0.0, nesterov=False)])
def test_it_keeps_the_contract(optimiser: SgdBuilder) -> None:
    check_optimiser(optimiser)


def test_it_is_torchs_with_its_options() -> None:
    built = SgdBuilder().build(PARAMETERS, 0.1, 0.5)
    assert type(built) is torch.optim.SGD
    wanted = {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.9, "nesterov": True, "fused": True}
    assert wanted.items() <= built.param_groups[0].items()
    plain = SgdBuilder(momentum=0.5, nesterov=False).build(PARAMETERS, 0.1, 0.0)
    assert (plain.param_groups[0]["momentum"], plain.param_groups[0]["nesterov"]) == (0.5, False)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ConfigError, match="set nesterov=false"):
        SgdBuilder(momentum=0.0)


def test_it_is_registered() -> None:
    assert [optimiser.name for optimiser in register_optimisers()] == ["sgd"]
