"""Chains of networks with odd names, and with blocks that are one operation."""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import TYPE_CHECKING

import pytest
import timm
import torch
from pbkd_fx import FxPartitioner
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from pbkd import dense_convolutions
from pbkd.errors import ChainError
from pbkd.models.adopt import adopt
from pbkd.models.chain import check_chain
from pbkd.models.partition import pick_and_cut, pick_partitioner

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.plugin.registry import Registry

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
ODD_NAMES = [
    "conv1/3x3", "conv1\\3x3", "a b", "A B", "a_b", 'q"', "new\nline", "卷积", "é", " ", "c:d",
    "*?", "$(x)", "x" * 300, "con", "-f", "{y}",
]  # fmt: skip


class OddlyNamed(nn.Module):
    def __init__(self, modules: list[str]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        for name in modules:
            self.add_module(name, nn.Conv2d(4, 4, 3, padding=1))
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.relu(layer(x))
        return x.mean((2, 3))


def test_modules_of_any_name_give_names_for_files() -> None:
    network = OddlyNamed(ODD_NAMES).eval().requires_grad_(False)
    chain = FxPartitioner().partition(network)
    check_chain(network, chain, IMAGES)
    segments = [name for name, _ in chain.named_children()]
    assert len({name.casefold() for name in segments}) == len(ODD_NAMES) + 2
    for name in segments:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,110}", name), name
    assert not {"con", "aux", "nul"} & set(segments)
    assert list(copy.deepcopy(chain).state_dict()) == list(chain.state_dict())


def test_names_that_torch_does_not_allow_in_a_chain_are_numbered() -> None:
    network = OddlyNamed(["append", "pop", "Append"]).eval()
    chain = FxPartitioner().partition(network)
    assert [name for name, _ in chain.named_children()] == [
        "stem",
        "append_2",
        "pop_2",
        "Append",
        "head",
    ]


@pytest.mark.parametrize("kind", ["test_nfnet", "test_byobnet", "test_efficientnet"])
def test_blocks_of_one_operation_are_blocks_whose_convolutions_can_be_replaced(kind: str) -> None:
    torch.manual_seed(0)
    network = adopt(timm.create_model(kind, num_classes=10)).network
    chain = FxPartitioner().partition(network)
    check_chain(network, chain, IMAGES)
    inner = [segment for name, segment in chain.named_children() if name not in ("stem", "head")]
    assert len(inner) > 2
    assert sum(1 for segment in inner if list(dense_convolutions(segment))) > 1


class Changed(ResNet):  # type: ignore[misc]
    """Has the layers of a torchvision ResNet, which a partitioner of its own cuts, but not more."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = super().forward(x * 2).softmax(1)
        return output


def test_a_known_family_with_a_forward_of_its_own_is_cut_like_any_network(
    registry: Registry,
) -> None:
    network = Changed(BasicBlock, [1, 1, 1, 1], num_classes=3).eval().requires_grad_(False)
    assert pick_partitioner(registry, {"name": "auto"}, network).name == "resnet"
    partitioner, chain = pick_and_cut(registry, {"name": "auto"}, network, IMAGES)
    assert partitioner == {"name": "fx"}
    assert torch.equal(chain(IMAGES), network(IMAGES))
    with pytest.raises(ChainError, match="resnet"):
        pick_and_cut(registry, {"name": "resnet"}, network, IMAGES)


@pytest.mark.parametrize(
    ("name", "is_long"), [("resnet20", True), ("resnet56", True), ("vgg16", False)]
)
def test_networks_with_long_stages_are_cut_into_them_if_nothing_else_is_chosen(
    registry: Registry, name: str, is_long: bool
) -> None:
    network = registry.find("model", name).build().eval()
    auto = {"name": "auto"}
    picked, chain = pick_and_cut(registry, auto, network, IMAGES, by_stages=True)
    assert picked.get("granularity") == ("stage" if is_long else None)
    assert torch.equal(chain(IMAGES), network(IMAGES))
    assert "granularity" not in pick_and_cut(registry, auto, network, IMAGES)[0]
    for chosen in ({**auto, "granularity": "block" if is_long else "conv"}, {"name": "fx"}):
        picked, _ = pick_and_cut(registry, chosen, network, IMAGES, by_stages=True)
        assert picked == {**chosen, "name": picked["name"]}


@pytest.mark.parametrize(
    "make", [partial(ResNet, layers=[2] * 4), partial(Changed, layers=[3] * 4)]
)
def test_a_resnet_of_two_blocks_a_stage_or_with_a_forward_of_its_own_keeps_its_blocks(
    registry: Registry, make: Callable[..., ResNet]
) -> None:
    network = make(block=BasicBlock, num_classes=3).eval()
    picked, _ = pick_and_cut(registry, {"name": "auto"}, network, IMAGES, by_stages=True)
    assert "granularity" not in picked
