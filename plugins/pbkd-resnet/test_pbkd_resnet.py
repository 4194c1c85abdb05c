from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from pbkd_resnet import ResnetPartitioner, register_partitioners
from pbkd_zoo import resnet, vgg
from torch import nn

from pbkd.errors import ConfigError
from pbkd.testing import check_partitioner

BLOCKS = {
    "zoo:resnet20": 9,
    "zoo:resnet56": 27,
    "zoo:digits_resnet": 6,
    "torchvision:resnet18": 8,
    "torchvision:resnet50": 16,
    "timm:resnet18": 8,
    "timm:resnet26d": 8,
    "timm:resnet50": 16,
    "timm:seresnet18": 8,
}


def build(kind: str) -> nn.Module:
    library, _, name = kind.partition(":")
    if library == "zoo":
        network: nn.Module = getattr(resnet, name)()
    elif library == "torchvision":
        network = torchvision.models.get_model(name, num_classes=10)
    else:
        network = timm.create_model(name, num_classes=10, drop_rate=0.5)
    return network


def teacher_and_images(kind: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network whose blocks all matter: timm starts their last BatchNorm at zero."""
    torch.manual_seed(0)
    teacher = build(kind).eval()
    for layer in teacher.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            assert layer.running_mean is not None
            layer.running_mean.normal_(std=0.1)
    return teacher, torch.randn((2, 1, 8, 8) if kind == "zoo:digits_resnet" else (2, 3, 32, 32))


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("granularity", ["block", "stage"])
def test_the_chain_is_the_teacher(kind: str, granularity: str) -> None:
    teacher, images = teacher_and_images(kind)
    partitioner = ResnetPartitioner(granularity)
    chain = partitioner.partition(teacher)
    assert set(chain.parameters()) == set(teacher.parameters())
    assert not any(module.training for module in chain.modules())
    with torch.no_grad():
        expected = teacher(images)
        x = images
        for segment in chain:
            before = x.clone()
            y = segment(x)
            assert torch.equal(x, before)
            x = y
    assert torch.equal(x, expected)
    assert not torch.equal(expected[0], expected[1])
    check_partitioner(partitioner, teacher, images)


@pytest.mark.parametrize(("kind", "blocks"), BLOCKS.items())
def test_every_residual_block_is_a_segment(kind: str, blocks: int) -> None:
    with torch.device("meta"):
        teacher = build(kind)
    segments = dict(ResnetPartitioner().partition(teacher).named_children())
    names = list(segments)
    assert (names[0], names[-1]) == ("stem", "head")
    assert len(names) == blocks + 2
    for name in names[1:-1]:
        assert segments[name] is teacher.get_submodule(name.replace("_", "."))


def test_names_of_blocks_and_stages() -> None:
    teacher = resnet.resnet20()

    def names(granularity: str) -> list[str]:
        chain = ResnetPartitioner(granularity).partition(teacher)
        return [name for name, _ in chain.named_children()]

    blocks = [f"layer{stage}_{index}" for stage in (1, 2, 3) for index in range(3)]
    assert names("block") == ["stem", *blocks, "head"]
    assert names("stage") == ["stem", "layer1", "layer2", "layer3", "head"]


def test_timms_dropout_is_kept() -> None:
    torch.manual_seed(0)
    teacher = build("timm:resnet18").train()
    head = ResnetPartitioner().partition(teacher).get_submodule("head")
    features = torch.rand(2, 512, 4, 4)
    torch.manual_seed(1)
    expected = teacher.get_submodule("fc")(
        nn.functional.dropout(teacher.get_submodule("global_pool")(features), 0.5)
    )
    torch.manual_seed(1)
    assert torch.equal(head(features), expected)
    assert not torch.equal(head(features), expected)


def test_a_training_teacher_stays_in_training() -> None:
    teacher = resnet.resnet20().train()
    teacher.bn1.eval()
    chain = ResnetPartitioner().partition(teacher)
    assert chain.training
    assert not teacher.bn1.training


def test_only_resnets_are_accepted() -> None:
    with torch.device("meta"):
        refused: list[nn.Module] = [
            vgg.vgg11(),
            timm.create_model("vgg11"),
            timm.create_model("resnetv2_50"),  # it normalises before it convolves
            timm.create_model("efficientnet_b0"),
            torchvision.models.vgg11(),
            torchvision.models.densenet121(),
            torchvision.models.shufflenet_v2_x0_5(),
            nn.Sequential(nn.Conv2d(3, 8, 3)),
        ]
    accepted = [network for network in refused if ResnetPartitioner().accepts(network)]
    assert [type(network).__name__ for network in accepted] == []


def test_another_network_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="resnet cannot cut a VGG"):
        ResnetPartitioner().partition(vgg.vgg11(width=0.125))


def test_a_wrong_granularity_names_the_possible_ones() -> None:
    with pytest.raises(ConfigError, match="no granularity 'conv': it is 'block' or 'stage'"):
        ResnetPartitioner("conv")


def test_it_is_registered() -> None:
    assert [partitioner.name for partitioner in register_partitioners()] == ["resnet"]
