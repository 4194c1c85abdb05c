from __future__ import annotations

import pytest
import torch
from pbkd_inverted_residual import (
    InvertedResidual,
    InvertedResidualBuilder,
    register_builders,
)
from torch import nn

from pbkd import Block
from pbkd.errors import ConfigError
from pbkd.testing import check_builder, macs


def build(
    before: tuple[int, ...], after: tuple[int, ...], builder: InvertedResidualBuilder | None = None
) -> nn.Module | None:
    return (builder or InvertedResidualBuilder()).build(
        nn.Identity(), Block("block", 0, before, after)
    )


def test_it_keeps_the_contract() -> None:
    check_builder(InvertedResidualBuilder())
    assert register_builders() == [InvertedResidualBuilder]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((8, 16, 16), (8, 16, 16)),
        ((8, 16, 16), (24, 16, 16)),
        ((8, 16, 16), (16, 8, 8)),
        ((8, 15, 15), (16, 8, 8)),
        ((8, 16, 12), (16, 4, 12)),
    ],
    ids=str,
)
def test_it_has_the_blocks_shapes(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    built = build(before, after)
    assert isinstance(built, InvertedResidual)
    assert built.eval()(torch.randn(2, *before)).shape == (2, *after)
    assert built.adds == (before == after)


def test_the_macs_are_those_of_the_paper() -> None:
    built = build((8, 16, 16), (24, 8, 8), InvertedResidualBuilder(expansion=3, kernel=5))
    assert built is not None
    # Expansion on the input's map; depthwise and projection on the output's.
    assert macs(built, (8, 16, 16)) == 256 * 8 * 24 + 64 * 25 * 24 + 64 * 24 * 24


def test_the_input_is_added_where_it_has_the_shape() -> None:
    built = build((8, 6, 6), (8, 6, 6))
    assert isinstance(built, InvertedResidual)
    nn.init.zeros_(list(built.layers.children())[-1].weight)  # type: ignore[arg-type]
    images = torch.randn(2, 8, 6, 6)
    assert torch.equal(built.eval()(images), images)


@pytest.mark.parametrize(
    ("before", "after"), [((8, 10, 10), (8, 6, 6)), ((8, 4, 4), (10,)), ((8, 4, 4), (8, 8, 8))]
)
def test_other_blocks_keep_the_teachers_segment(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    assert build(before, after) is None


@pytest.mark.parametrize("options", [{"expansion": 0}, {"kernel": 2}, {"kernel": 0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"'builder.{next(iter(options))}' is"):
        InvertedResidualBuilder(**options)  # type: ignore[arg-type]
