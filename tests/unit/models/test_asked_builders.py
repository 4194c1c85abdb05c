"""Which builders are asked for a block: those that are named, or with `auto` those that fit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from torch import nn

from pbkd import Block
from pbkd.config.load import load_config
from pbkd.models.asked_builders import ask_builders, automatic_builders
from pbkd.models.proposal import propose_in_turn

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

DENSE = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)).eval()
DEPTHWISE = nn.Sequential(
    nn.Conv2d(16, 96, 1), nn.Conv2d(96, 96, 3, padding=1, groups=96), nn.Conv2d(96, 16, 1)
)
BLOCK = Block("block", 1, (16, 8, 8), (16, 8, 8))


@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"
    sizes: ClassVar[Any] = ({"width": 1},)
    width: int = 2


@dataclass(frozen=True)
class LastResort(Mine):
    name: ClassVar[str] = "last-resort"
    fallback: ClassVar[bool] = True


@dataclass(frozen=True)
class Demanding:
    depth: int
    name: ClassVar[str] = "demanding"
    sizes: ClassVar[Any] = ({"depth": 1},)


@pytest.mark.parametrize(
    ("segment", "builder"), [(DENSE, "low-rank"), (DEPTHWISE, "inverted-residual")]
)
def test_each_kind_of_block_gets_a_builder_that_fits_it(
    registry: Registry, segment: nn.Module, builder: str
) -> None:
    (slot,) = ask_builders(registry, {"name": "auto"}).slots
    proposal = propose_in_turn(slot, segment, BLOCK, 0)
    assert proposal.builder == {"name": builder}
    assert proposal.replacement is not None


def test_a_block_that_none_fits_has_the_reasons_of_all(registry: Registry) -> None:
    (slot,) = ask_builders(registry, {"name": "auto"}).slots
    reason = propose_in_turn(slot, nn.Conv2d(16, 16, 1), BLOCK, 0).reason
    assert reason is not None
    assert reason.startswith("low-rank, ghost, separable")
    assert reason.endswith(" find nothing to replace; inverted-residual would need more MACs")


def test_builders_of_others_come_after_low_rank_and_fallbacks_last(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cls in (LastResort, Mine):
        monkeypatch.setitem(registry.strategies["builder"], cls.name, cls)
    first, *others = automatic_builders(registry)
    assert first == "low-rank"
    assert others[-3:] == ["mine", "inverted-residual", "last-resort"]
    assert "identity" not in others  # has no sizes
    assert "shallow" not in others
    assert "shallow" in automatic_builders(registry, is_open=True)


def test_a_builder_that_needs_options_is_left_out_with_a_note(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.strategies["builder"], "demanding", Demanding)
    monkeypatch.setattr(registry, "notes", [])
    names = [each.choice["name"] for each in ask_builders(registry, {"name": "auto"}).slots[0]]
    assert "demanding" not in names
    told = "builder=auto does not ask 'demanding': 'builder.depth' is required."
    assert registry.notes == [told]


def test_within_limits_every_size_is_a_candidate_unless_the_user_names_some(
    registry: Registry,
) -> None:
    auto = {"name": "auto"}
    asked = ask_builders(registry, auto, is_limited=True)
    choices = [dict(each.choice) for slot in asked.slots for each in slot]
    assert asked.is_open
    assert choices[:2] == [{"name": "low-rank"}, {"name": "low-rank", "share": 0.5}]
    assert {"name": "inverted-residual", "expansion": 1.0} in choices
    named = ask_builders(registry, auto, ["ghost"], is_limited=True)
    assert not named.is_open
    assert [slot[0].choice["name"] for slot in named.slots] == ["low-rank", "ghost"]


@pytest.mark.parametrize(
    ("file", "overrides", "builder"),
    [
        (None, [], {"name": "auto"}),
        (None, ["builder.share=0.3"], {"name": "low-rank", "share": 0.3}),
        ({"builder": {"share": 0.2}}, [], {"name": "low-rank", "share": 0.2}),
        ({"builder": {"share": 0.2}}, ["builder=low-rank"], {"name": "low-rank", "share": 0.2}),
        ({"builder": "ghost"}, ["builder.ratio=8"], {"name": "ghost", "ratio": 8}),
        ({"builder": {"share": 0.2}}, ["builder=auto"], {"name": "auto"}),
        (None, ["builder=ghost", "builder.ratio=8"], {"name": "ghost", "ratio": 8}),
    ],
)
def test_options_without_a_name_are_those_of_low_rank(
    file: dict[str, Any] | None, overrides: list[str], builder: dict[str, Any]
) -> None:
    assert load_config(overrides, file=file).builder == builder
