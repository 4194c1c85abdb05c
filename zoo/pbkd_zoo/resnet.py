"""ResNets for CIFAR-10 (He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2).

A 3x3 stem and three stages of basic blocks whose widths double, 6n+2 weighted layers for n blocks
a stage. Shortcuts are the paper's option A and hold no parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "BasicBlock",
    "CifarResNet",
    "digits_resnet",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside an option A shortcut.

    Maps (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        """Build the layers; `stride` applies to the first convolution and the shortcut."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.added_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(residual + shortcut)."""
        residual = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        residual += self._shortcut(x)
        return functional.relu(residual, inplace=True)

    def _shortcut(self, x: Tensor) -> Tensor:
        """Subsample the input and pad its channels with zeros, half of them on either side."""
        if self.stride == 1 and self.added_channels == 0:
            return x
        before = self.added_channels // 2
        after = self.added_channels - before
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(subsampled, (0, 0, 0, 0, before, after))


class CifarResNet(nn.Module):
    """A stem, three stages of `blocks` basic blocks, global average pooling, one linear layer.

    The stages have `width`, 2 * `width` and 4 * `width` channels; the second and third halve the
    resolution. Maps (N, in_channels, H, W) to logits (N, num_classes).

    Args:
        blocks: Basic blocks per stage.
        num_classes: Number of classes.
        in_channels: Channels of the images.
        width: Channels of the first stage.
    """

    def __init__(
        self, blocks: int, *, num_classes: int = 10, in_channels: int = 3, width: int = 16
    ) -> None:
        """Build the layers, with He initialisation (arXiv 1502.01852), as in the paper."""
        if width < 1:
            raise ConfigError(f"the width of a CIFAR ResNet is {width}, but it must be 1 or more.")
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(blocks, width, width, stride=1)
        self.layer2 = _stage(blocks, width, 2 * width, stride=2)
        self.layer3 = _stage(blocks, 2 * width, 4 * width, stride=2)
        self.linear = nn.Linear(4 * width, num_classes)
        if (
            not self.linear.weight.is_meta
        ):  # initialising meta tensors would import torch's compiler
            self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, H, W)."""
        x = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        logits: Tensor = self.linear(x)
        return logits


def resnet20(*, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> CifarResNet:
    """Build ResNet-20: 3 blocks a stage."""
    return CifarResNet(3, num_classes=num_classes, in_channels=in_channels, width=width)


def resnet32(*, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> CifarResNet:
    """Build ResNet-32: 5 blocks a stage."""
    return CifarResNet(5, num_classes=num_classes, in_channels=in_channels, width=width)


def resnet44(*, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> CifarResNet:
    """Build ResNet-44: 7 blocks a stage."""
    return CifarResNet(7, num_classes=num_classes, in_channels=in_channels, width=width)


def resnet56(*, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> CifarResNet:
    """Build ResNet-56: 9 blocks a stage."""
    return CifarResNet(9, num_classes=num_classes, in_channels=in_channels, width=width)


def resnet110(*, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> CifarResNet:
    """Build ResNet-110: 18 blocks a stage."""
    return CifarResNet(18, num_classes=num_classes, in_channels=in_channels, width=width)


def cifar10_resnet20() -> CifarResNet:
    """Build the CIFAR-10 teacher: ResNet-20, 16 channels wide, for 3x32x32 images."""
    return resnet20()


def digits_resnet() -> CifarResNet:
    """Build the digits teacher: 2 blocks a stage, 24 channels wide, for grey 8x8 images."""
    return CifarResNet(2, num_classes=10, in_channels=1, width=24)


def _stage(blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(
        first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1))
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight)
