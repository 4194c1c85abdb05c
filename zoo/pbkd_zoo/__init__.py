"""The built-in zoo: VGGs and ResNets for small images, and the networks of torchvision and timm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd import ZooModel, hookimpl
from pbkd_zoo import families, recipes, resnet, vgg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

PBKD_CONTRACT = 2

_HERE = Path(__file__).parent

_CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
_CIFAR10_STD = (0.2470, 0.2435, 0.2616)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@hookimpl
def register_models() -> list[ZooModel]:
    """Register all models of this package."""
    return [
        _vgg("vgg11", vgg.vgg11, convolutions=8),
        _vgg("vgg13", vgg.vgg13, convolutions=10),
        _vgg("vgg16", vgg.vgg16, convolutions=13),
        _vgg("vgg19", vgg.vgg19, convolutions=16),
        _resnet("resnet20", resnet.resnet20, blocks=9),
        _resnet("resnet32", resnet.resnet32, blocks=15),
        _resnet("resnet44", resnet.resnet44, blocks=21),
        _resnet("resnet56", resnet.resnet56, blocks=27),
        _resnet("resnet110", resnet.resnet110, blocks=54),
        _trained("VGG-16 at half width", vgg.cifar10_vgg16, recipes.vgg_recipe("vgg16-cifar10")),
        _trained(
            "ResNet-20", resnet.cifar10_resnet20, recipes.resnet_recipe("resnet20-cifar10", 20)
        ),
        _trained("a VGG with 6 convolutions", vgg.digits_vgg, recipes.digits_recipe("digits-vgg")),
        _trained(
            "a CIFAR ResNet with 6 blocks",
            resnet.digits_resnet,
            recipes.digits_recipe("digits-resnet"),
        ),
        _torchvision(),
        _timm(),
    ]


def _vgg(name: str, build: Callable[..., nn.Module], convolutions: int) -> ZooModel:
    return ZooModel(
        name=name,
        build=build,
        summary=f"VGG for small images: {convolutions} convolutions, one linear layer",
        mean=_CIFAR10_MEAN,
        std=_CIFAR10_STD,
        recipe=recipes.vgg_recipe(name),
    )


def _resnet(name: str, build: Callable[..., nn.Module], blocks: int) -> ZooModel:
    # The published weights of these networks expect ImageNet's statistics, even for CIFAR-10.
    return ZooModel(
        name=name,
        build=build,
        summary=f"CIFAR ResNet: {blocks} blocks, shortcuts without parameters",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        recipe=recipes.resnet_recipe(name, 2 * blocks + 2),
    )


def _trained(summary: str, build: Callable[..., nn.Module], recipe: Mapping[str, Any]) -> ZooModel:
    """Return the teacher of a recipe, with its weights and card from this package."""
    name = recipe["teacher"]["name"]
    digits = name.startswith("digits-")
    return ZooModel(
        name=name,
        build=build,
        summary=f"teacher for {'8x8 handwritten digits' if digits else 'CIFAR-10'}: {summary}",
        mean=(0.5,) if digits else _CIFAR10_MEAN,
        std=(0.5,) if digits else _CIFAR10_STD,
        input_shape=(1, 8, 8) if digits else (3, 32, 32),
        weights=_HERE / "weights" / f"{name}.safetensors",
        card=_HERE / "cards" / f"{name}.yaml",
        recipe=recipe,
    )


def _torchvision() -> ZooModel:
    return ZooModel(
        name="torchvision",
        build=families.build_torchvision,
        summary="any classification network of torchvision, such as torchvision:resnet50",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        variants=families.torchvision_variants,
    )


def _timm() -> ZooModel:
    return ZooModel(
        name="timm",
        build=families.build_timm,
        summary="any network of timm, such as timm:resnet26d",
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        variants=families.timm_variants,
    )
