from __future__ import annotations

import torch
from pbkd_identity import IdentityBuilder, register_builders
from torch import nn

from pbkd import Block
from pbkd.testing import check_builder, macs


def build(before: tuple[int, ...], after: tuple[int, ...]) -> nn.Module | None:
    return IdentityBuilder().build(nn.Identity(), Block("block", 0, before, after))


def test_it_keeps_the_contract() -> None:
    check_builder(IdentityBuilder())
    assert register_builders() == [IdentityBuilder]


def test_it_starts_as_the_identity_and_costs_a_product_for_each_value() -> None:
    built = build((8, 6, 5), (8, 6, 5))
    assert built is not None
    images = torch.randn(2, 8, 6, 5)
    assert torch.equal(built(images), images)
    assert macs(built, (8, 6, 5)) == 8 * 6 * 5


def test_a_block_that_changes_the_shape_stays() -> None:
    assert build((8, 6, 6), (8, 3, 3)) is None
    assert build((8, 6, 6), (9, 6, 6)) is None
    assert build((10,), (10,)) is None
