from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from pbkd_fx import FxPartitioner, register_partitioners
from pbkd_zoo import resnet, vgg
from torch import Tensor, nn

from pbkd.errors import ChainError, ConfigError
from pbkd.testing import check_partitioner

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def build(kind: str) -> nn.Module:
    library, _, name = kind.partition(":")
    torch.manual_seed(0)
    network: nn.Module = (
        timm.create_model(name, num_classes=10)
        if library == "timm"
        else torchvision.models.get_model(name, num_classes=10)
    )
    return network.eval()


def names(network: nn.Module, partitioner: FxPartitioner | None = None) -> list[str]:
    chain = (partitioner or FxPartitioner()).partition(network)
    return [name for name, _ in chain.named_children()]


class Odd(nn.Module):
    """Branches on its input's values, which no symbolic trace can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Skipping(nn.Module):
    """Needs its first activation again at the end, so nothing between can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.first(images)
        y: Tensor = self.third(self.second(x)) + x
        return y


class InPlace(nn.Module):
    """Changes the first convolution's output in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.first(images)
        x += 1
        y: Tensor = self.second(x.relu_())
        return y


class Sized(nn.Module):
    """Asks its input for the batch size and uses it at the end, with a batch size on the way."""

    def __init__(self, ask: str) -> None:
        super().__init__()
        self.ask = ask
        self.blocks = nn.Sequential(*(resnet.BasicBlock(3, 3) for _ in range(2)))
        self.classes = nn.Linear(3 * 64 * 64, 7)

    def forward(self, images: Tensor) -> Tensor:
        asked = {
            "size": lambda: images.size(0),
            "sizes": lambda: images.size()[0],
            "shape": lambda: images.shape[0],
        }
        count = asked[self.ask]()
        x = self.blocks(images)
        y: Tensor = self.classes(x.view(count, 3, -1).reshape(count, -1))
        return y


@pytest.mark.parametrize("ask", ["size", "sizes", "shape"])
def test_a_batch_size_that_is_asked_for_early_forbids_no_cut(ask: str) -> None:
    network = Sized(ask)
    assert names(network) == ["blocks_0", "blocks_1", "head"]
    check_partitioner(FxPartitioner(), network, IMAGES)
    chain = FxPartitioner().partition(network)
    with torch.no_grad():
        assert torch.allclose(chain(IMAGES[:1]), network(IMAGES[:1]), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "segments"),
    [
        ("timm:convnext_atto", 20),
        ("timm:mobilenetv3_small_050", 13),
        ("timm:regnetx_002", 15),
        ("torchvision:squeezenet1_1", 12),
        ("torchvision:densenet121", 9),
        ("torchvision:alexnet", 6),
    ],
)
def test_networks_of_many_families_are_cut(kind: str, segments: int) -> None:
    network = build(kind)
    found = names(network)
    assert (found[0], found[-1], len(found)) == ("stem", "head", segments)
    check_partitioner(FxPartitioner(), network, IMAGES)


def test_every_residual_block_is_a_segment() -> None:
    blocks = [f"layer{stage}_{index}" for stage in (1, 2, 3) for index in range(3)]
    assert names(resnet.resnet20()) == ["stem", *blocks, "head"]


def test_a_network_without_blocks_is_cut_before_each_convolution() -> None:
    found = names(vgg.vgg11())
    assert (found[0], found[-1]) == ("stem", "head")
    assert len(found) == 9  # eight convolutions, the first of which is in the stem


def test_stages_are_cut_where_the_map_shrinks() -> None:
    stages = names(resnet.resnet20(), FxPartitioner("stage"))
    assert stages == ["stem", "layer1_0", "layer2_0", "layer3_0", "head"]
    check_partitioner(FxPartitioner("stage"), resnet.resnet20(), IMAGES)


def test_convolutions_are_cut_apart_where_nothing_skips_them() -> None:
    found = names(resnet.resnet20(), FxPartitioner("conv"))
    assert found[:3] == ["stem", "layer1_0_conv1", "layer1_1_conv1"]  # shortcuts skip the second
    assert (found[-1], len(found)) == ("head", 11)
    plain = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()) for _ in range(3)))
    assert len(names(plain, FxPartitioner("conv"))) == 3


def test_paths_say_where_to_cut() -> None:
    partitioner = FxPartitioner(paths=("layer1", "layer3.1"))
    assert names(resnet.resnet20(), partitioner) == ["layer1", "layer3_1", "head"]
    check_partitioner(partitioner, resnet.resnet20(), IMAGES)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("layer9",), "'partitioner.paths' has no module 'layer9'. Did you mean 'layer"),
        (
            ("layer1.0.conv1",),
            "the network cannot be cut after 'layer1.0.conv1': later layers need",
        ),
        (("layer2", "layer1"), "the network cannot be cut after 'layer1': later layers need more"),
    ],
)
def test_paths_that_cannot_be_cut_after(paths: tuple[str, ...], message: str) -> None:
    with pytest.raises(ChainError) as caught:
        FxPartitioner(paths=paths).partition(resnet.resnet20())
    assert str(caught.value).startswith(message)


def test_what_is_needed_later_is_not_cut() -> None:
    network = Skipping().eval()
    assert len(names(network)) == 2  # the first convolution, and what its output skips
    check_partitioner(FxPartitioner(), network, IMAGES)


def test_nothing_is_cut_before_a_change_in_place() -> None:
    network = InPlace().eval()
    check_partitioner(FxPartitioner(), network, IMAGES)
    first = FxPartitioner().partition(network)[0]
    with torch.no_grad():
        assert torch.equal(first(IMAGES), (network.first(IMAGES) + 1).relu())


def test_a_network_that_cannot_be_traced_is_reported_with_its_module() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Sequential(nn.ReLU(), Odd()))
    with pytest.raises(ChainError, match=r"Sequential cannot be traced, at its module '1\.1'"):
        FxPartitioner().partition(network)


def test_an_unknown_granularity() -> None:
    with pytest.raises(ConfigError, match="no granularity 'blocks': it is one of block, stage"):
        FxPartitioner("blocks")


def test_it_is_handed_over_and_asked_last() -> None:
    assert register_partitioners() == [FxPartitioner]
    assert FxPartitioner.fallback
    assert FxPartitioner().accepts(Odd())
