from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from pbkd_vgg import VggPartitioner, register_partitioners
from pbkd_zoo import resnet, vgg
from torch import nn

from pbkd.errors import ConfigError
from pbkd.testing import check_partitioner

TEACHERS = ["zoo", "zoo-plain", "digits", "torchvision", "timm", "timm-plain"]


def build(kind: str) -> nn.Module:
    if kind == "zoo":
        return vgg.vgg16(width=0.125)
    if kind == "zoo-plain":
        return vgg.vgg11(width=0.125, batch_norm=False)
    if kind == "digits":
        return vgg.digits_vgg()
    if kind == "torchvision":
        network: nn.Module = torchvision.models.vgg16_bn(init_weights=False)
        return network
    name = "vgg11_bn" if kind == "timm" else "vgg11"
    # A narrow hidden layer: the usual one has over 100 million parameters.
    created: nn.Module = timm.create_model(name, mlp_ratio=1 / 64, drop_rate=0.5)
    return created


def teacher_and_images(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    teacher = build(kind).eval()
    for layer in teacher.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            assert layer.running_mean is not None
            layer.running_mean.normal_(std=0.1)
    return teacher, torch.randn((2, 1, 8, 8) if kind == "digits" else (2, 3, 32, 32))


@pytest.mark.parametrize("kind", TEACHERS)
@pytest.mark.parametrize("granularity", ["conv", "stage"])
def test_the_chain_is_the_teacher(kind: str, granularity: str) -> None:
    teacher, images = teacher_and_images(kind)
    partitioner = VggPartitioner(granularity)
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


@pytest.mark.parametrize("kind", ["zoo", "torchvision"])
def test_vgg16_has_the_papers_13_blocks(kind: str) -> None:
    with torch.device("meta"):
        teacher = build(kind)
    names = [name for name, _ in VggPartitioner().partition(teacher).named_children()]
    assert names == [
        *("conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2"),
        *("conv3_1", "conv3_2", "conv3_3", "pool3", "conv4_1", "conv4_2", "conv4_3", "pool4"),
        *("conv5_1", "conv5_2", "conv5_3", "pool5", "head"),
    ]
    assert sum(name.startswith("conv") for name in names) == 13


def test_segments_hold_the_layers_that_belong_together() -> None:
    teacher, _ = teacher_and_images("zoo")
    chain = VggPartitioner().partition(teacher)
    kinds = {name: [type(x) for x in s.children()] for name, s in chain.named_children()}
    assert kinds["conv3_2"] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert kinds["pool3"] == [nn.MaxPool2d]
    assert kinds["head"] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]


def test_stages_end_with_their_pooling() -> None:
    teacher, _ = teacher_and_images("digits")
    chain = VggPartitioner("stage").partition(teacher)
    last = {name: type(list(segment.children())[-1]) for name, segment in chain.named_children()}
    assert last == {
        "stage1": nn.MaxPool2d,
        "stage2": nn.MaxPool2d,
        "stage3": nn.ReLU,
        "head": nn.Linear,
    }


def test_a_training_teacher_stays_in_training() -> None:
    teacher = vgg.vgg11(width=0.125).train()
    teacher.features[1].eval()
    chain = VggPartitioner().partition(teacher)
    assert chain.training
    assert not teacher.features[1].training


def test_only_vggs_are_accepted() -> None:
    with torch.device("meta"):
        refused: list[nn.Module] = [
            resnet.resnet20(),
            timm.create_model("resnet18"),
            timm.create_model("mobilenetv3_small_050"),
            torchvision.models.resnet18(),
            torchvision.models.alexnet(),  # an 11x11 convolution
            torchvision.models.mobilenet_v2(),
            torchvision.models.densenet121(),
            torchvision.models.squeezenet1_1(),
            nn.Sequential(nn.Conv2d(3, 8, 3)),
        ]
    assert [
        type(network).__name__ for network in refused if VggPartitioner().accepts(network)
    ] == []


def test_another_network_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="vgg cannot cut a CifarResNet"):
        VggPartitioner().partition(resnet.resnet20())


def test_a_wrong_granularity_names_the_possible_ones() -> None:
    with pytest.raises(ConfigError, match="no granularity 'block': it is 'conv' or 'stage'"):
        VggPartitioner("block")


def test_it_is_registered() -> None:
    assert [partitioner.name for partitioner in register_partitioners()] == ["vgg"]
