"""Replacements whose shapes, or numbers beside their weights, depend on the teacher's weights."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from pbkd import Built
from pbkd.core.blocks import Block
from pbkd.errors import PluginError
from pbkd.models.asked_builders import AskedBuilder
from pbkd.models.chain import freeze
from pbkd.models.proposal import propose
from pbkd.models.rebuilding import check_rebuilding
from pbkd.models.replacement import build_replacement

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = Block("conv", 1, (8, 6, 6), (16, 6, 6))


def segment() -> nn.Module:
    torch.manual_seed(0)
    return freeze(nn.Conv2d(8, 16, 3, padding=1))


def pair(rank: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, rank, 1), nn.Conv2d(rank, 16, 1))


def energy_rank(weight: Tensor) -> int:
    energies = torch.linalg.svdvals(weight.flatten(1)).square().cumsum(0)
    return int((energies < 0.9 * energies[-1]).sum()) + 1


@dataclass(frozen=True)
class Energy:
    """Chooses its rank by the weights; with `honest`, it says so."""

    name: ClassVar[str] = "energy"
    honest: bool = False
    rank: int | None = None

    def build(self, segment: nn.Module, block: Block) -> nn.Module | Built:  # noqa: ARG002
        rank = self.rank or energy_rank(segment.get_parameter("weight"))
        return Built(pair(rank), {"rank": rank}) if self.honest else pair(rank)


@dataclass(frozen=True)
class Answers:
    """Builds what a function of the segment returns."""

    name: ClassVar[str] = "answers"
    answer: Callable[[nn.Module], Any]

    def build(self, segment: nn.Module, block: Block) -> Any:  # noqa: ARG002
        return self.answer(segment)


class Scaled(nn.Module):
    """Keeps a number of the teacher outside of its state."""

    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(8, 16, 1), scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x) * self.scale
        return y


class Hidden(nn.Module):
    """Keeps a tensor of the teacher in a buffer that is not saved."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 16, 1)
        self.register_buffer("scale", tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x) * self.scale
        return y


def weight_of(segment: nn.Module) -> Tensor:
    return segment.get_parameter("weight")


def raise_if_weak(segment: nn.Module) -> nn.Module:
    if weight_of(segment).abs().max() > 1:
        raise ValueError("cannot handle these weights")
    return pair(3)


def narrow(segment: nn.Module) -> nn.Module:
    return pair(3).double() if weight_of(segment).abs().max() > 1 else pair(3)


MISTAKES: dict[str, Callable[[nn.Module], Any]] = {
    "rank by energy": lambda segment: pair(energy_rank(weight_of(segment))),
    "kernels above a threshold": lambda segment: pair(
        int((weight_of(segment).flatten(1).norm(dim=1) > 0.5).sum()) + 1
    ),
    "none for other weights": lambda segment: (
        pair(2) if weight_of(segment).abs().max() < 1 else None
    ),
    "raises for other weights": raise_if_weak,
    "other names": lambda segment: nn.Sequential(
        *[nn.Identity()] * energy_rank(weight_of(segment)), nn.Conv2d(8, 16, 1)
    ),
    "other number types": narrow,
    "a number beside the weights": lambda segment: Scaled(float(weight_of(segment).std())),
    "a tensor beside the weights": lambda segment: Scaled(weight_of(segment).std().clone()),
    "a buffer that is not saved": lambda segment: Hidden(weight_of(segment).std().clone()),
    "shape by seed": lambda _: pair(int(torch.randint(1, 2**20, ()) % 1009) + 1),
    "shape by chance": lambda _: pair(random.randint(1, 10**4)),
    "random number beside the weights": lambda _: Scaled(float(torch.rand(()))),
}


def check(builder: Any, again: Any = None) -> None:
    teacher = segment()
    built = build_replacement(builder, teacher, BLOCK, 0)
    assert built is not None
    check_rebuilding(built.module, again or builder, teacher, BLOCK)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_replacement_that_could_not_be_loaded_is_found_at_once(mistake: str) -> None:
    told = (
        rf"^the builder 'answers' of the plugin '{__name__}' gives block 'conv' a replacement that"
        r" cannot be loaded: built from other weights it .*; return pbkd.Built\(module, options\)"
    )
    with pytest.raises(PluginError, match=told):
        check(Answers(MISTAKES[mistake]))


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: pair(3),
        lambda _: nn.Sequential(nn.Conv2d(8, 16, 1), nn.Dropout(0.5)),
        lambda _: Scaled(0.5),
        lambda _: nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 16, 1)),
    ],
    ids=["plain", "dropout", "constant", "parametrized"],
)
def test_what_depends_on_no_weights_passes(answer: Callable[[nn.Module], Any]) -> None:
    check(Answers(answer))


def test_the_options_of_built_fix_the_shapes() -> None:
    built = build_replacement(Energy(honest=True), segment(), BLOCK, 0)
    assert built is not None
    assert built.options == {"rank": energy_rank(weight_of(segment()))}
    check(Energy(honest=True), Energy(**built.options))
    with pytest.raises(PluginError, match="names or shapes"):
        check(Energy(honest=True))  # the options are not used


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rank": torch.tensor(3)}, r"options that are not JSON \(Object of type Tensor"),
        ({"rank": math.nan}, "options that are not JSON"),
        ({"ranks": {1: 2}}, "options that are not JSON"),
        ({"ranks": {3, 4}}, "options that are not JSON"),
        ({"name": "other"}, "an option 'name', which is the builder's own name"),
        ([("rank", 3)], "options that are a list, not a mapping"),
        (None, "options that are a NoneType, not a mapping"),
    ],
    ids=str,
)
def test_options_that_no_file_can_hold_are_refused(options: Any, told: str) -> None:
    builder = Answers(lambda _: Built(pair(2), options))
    with pytest.raises(PluginError, match=f"'answers' of .* gives block 'conv' {told}"):
        build_replacement(builder, segment(), BLOCK, 0)


def test_tuples_become_lists() -> None:
    builder = Answers(lambda _: Built(pair(2), {"ranks": (2, 3)}))
    proposal = propose(AskedBuilder({"name": "answers"}, builder), segment(), BLOCK, 0)
    assert proposal.builder == {"name": "answers", "ranks": [2, 3]}


@pytest.mark.parametrize("module", [None, nn.Conv2d, 3])
def test_built_holds_a_module(module: Any) -> None:
    with pytest.raises(PluginError, match=r"gives block 'conv' a replacement that is a \w+, not"):
        build_replacement(Answers(lambda _: Built(module, {})), segment(), BLOCK, 0)
