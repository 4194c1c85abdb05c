"""VGG for small images (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556).

The convolutions follow the paper's table 1, configurations A, B, D and E; the three fully
connected layers are replaced by global average pooling and one linear layer, as is usual for
32x32 images. Parameter names are torchvision's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["VGG", "cifar10_vgg16", "digits_vgg", "vgg11", "vgg13", "vgg16", "vgg19"]

_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """3x3 convolutions in stages, each followed by 2x2 max pooling.

    Maps (N, in_channels, H, W) to logits (N, num_classes) for any H and W of at least 1: pooling
    rounds up (`ceil_mode`), so that a 1x1 map stays 1x1. For sizes that are divisible by two at
    every stage, such as 32x32, this is the usual VGG.

    Args:
        stages: Output channels of the convolutions of every stage.
        batch_norm: Whether BatchNorm follows each convolution.
        num_classes: Number of classes.
        in_channels: Channels of the images.
        pool_last: Whether pooling follows the last stage.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        *,
        batch_norm: bool = True,
        num_classes: int = 10,
        in_channels: int = 3,
        pool_last: bool = True,
    ) -> None:
        """Build the layers, initialised as in torchvision."""
        super().__init__()
        self.features = nn.Sequential(*_features(stages, in_channels, batch_norm, pool_last))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(stages[-1][-1], num_classes)
        if (
            not self.classifier.weight.is_meta
        ):  # initialising meta tensors would import torch's compiler
            self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, H, W)."""
        pooled = self.avgpool(self.features(images))
        logits: Tensor = self.classifier(torch.flatten(pooled, 1))
        return logits


def vgg11(
    *, width: float = 1.0, batch_norm: bool = True, num_classes: int = 10, in_channels: int = 3
) -> VGG:
    """Build configuration A: 8 convolutions; `width` multiplies their channels."""
    stages = _stages((1, 1, 2, 2, 2), width)
    return VGG(stages, batch_norm=batch_norm, num_classes=num_classes, in_channels=in_channels)


def vgg13(
    *, width: float = 1.0, batch_norm: bool = True, num_classes: int = 10, in_channels: int = 3
) -> VGG:
    """Build configuration B: 10 convolutions; `width` multiplies their channels."""
    stages = _stages((2, 2, 2, 2, 2), width)
    return VGG(stages, batch_norm=batch_norm, num_classes=num_classes, in_channels=in_channels)


def vgg16(
    *, width: float = 1.0, batch_norm: bool = True, num_classes: int = 10, in_channels: int = 3
) -> VGG:
    """Build configuration D: 13 convolutions; `width` multiplies their channels."""
    stages = _stages((2, 2, 3, 3, 3), width)
    return VGG(stages, batch_norm=batch_norm, num_classes=num_classes, in_channels=in_channels)


def vgg19(
    *, width: float = 1.0, batch_norm: bool = True, num_classes: int = 10, in_channels: int = 3
) -> VGG:
    """Build configuration E: 16 convolutions; `width` multiplies their channels."""
    stages = _stages((2, 2, 4, 4, 4), width)
    return VGG(stages, batch_norm=batch_norm, num_classes=num_classes, in_channels=in_channels)


def cifar10_vgg16() -> VGG:
    """Build the CIFAR-10 teacher: VGG-16 with BatchNorm at half width."""
    return vgg16(width=0.5)


def digits_vgg() -> VGG:
    """Build the digits teacher: 6 convolutions for grey 8x8 images in 10 classes."""
    return VGG(((32, 32), (64, 64), (128, 128)), in_channels=1, pool_last=False)


def _stages(depths: Sequence[int], width: float) -> list[list[int]]:
    """Return the channels of each stage, scaled and rounded to a multiple of 8, at least 8."""
    if not (math.isfinite(width) and width > 0):
        raise ConfigError(f"the width of a VGG is {width}, but it must be above 0, such as 0.5.")
    channels = [max(8, round(full * width / 8) * 8) for full in _WIDTHS]
    return [[count] * depth for count, depth in zip(channels, depths, strict=True)]


def _features(
    stages: Sequence[Sequence[int]], in_channels: int, batch_norm: bool, pool_last: bool
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = in_channels
    for stage in stages:
        for channels in stage:
            layers.append(nn.Conv2d(before, channels, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU(inplace=True))
            before = channels
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True))
    return layers if pool_last else layers[:-1]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
