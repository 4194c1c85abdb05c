"""Small deterministic test data: costs, a segment, a teacher, a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.core.blocks import BlockCost
from pbkd.core.schedule import Worker
from pbkd.data.datasets import ArraySplit, Dataset
from pbkd.models.chain import freeze

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["tiny_costs", "tiny_data", "tiny_segment", "tiny_stage", "tiny_teacher", "tiny_workers"]

_CLASSES = 4


class _Teacher(nn.Module):
    """Maps (N, 3, H, W), H and W at least 2, to (N, 4); built like a VGG of torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


class _Residual(nn.Module):
    """Adds to its input what two 3x3 convolutions with BatchNorm make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = (x + self.layers(x)).relu()
        return output


def tiny_costs(blocks: int = 5) -> list[BlockCost]:
    """Return the costs of a chain of `blocks` blocks, all different."""
    costs, prefix = [], 0.5
    for index in range(blocks):
        teacher = 1.0 + (index * 7 % 5) / 4
        costs.append(BlockCost(f"block{index}", prefix, teacher, 2 * teacher + index / 8))
        prefix += teacher
    return costs


def tiny_workers(count: int = 3) -> list[Worker]:
    """Return workers of different speed: 1.0, 0.5, 2.0, and so on; two of each node."""
    speeds = (1.0, 0.5, 2.0)
    return [
        Worker(rank, speed=speeds[rank % 3], node=f"node{rank // 2}", bandwidth=1e8 * (1 + rank))
        for rank in range(count)
    ]


def tiny_segment() -> nn.Sequential:
    """Return a segment of two 3x3 convolutions with BatchNorm and ReLU.

    It maps (N, 8, H, W) to (N, 16, H/2, W/2).
    """
    generator = torch.Generator().manual_seed(0)
    segment = nn.Sequential(
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )
    _fill(segment, generator)
    return segment


def tiny_stage() -> nn.Sequential:
    """Return a segment of three residual blocks; it maps (N, 8, H, W) to the same shape."""
    stage = nn.Sequential(*(_Residual() for _ in range(3)))
    _fill(stage, torch.Generator().manual_seed(0))
    return stage


def tiny_teacher() -> nn.Module:
    """Return a frozen VGG of two convolutions with fixed weights.

    It maps (N, 3, 8, 8) to logits (N, 4).
    """
    generator = torch.Generator().manual_seed(0)
    teacher = _Teacher()
    _fill(teacher, generator)
    return freeze(teacher)


def tiny_data() -> Dataset:
    """Return a fixed data set of 3x8x8 uint8 images in 4 classes.

    It has 64 training, 16 validation and 16 test images. The class is the bright quarter of the
    image.
    """
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> ArraySplit:
        labels = torch.arange(count) % _CLASSES
        pixels = torch.randint(0, 64, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
        for image, label in zip(pixels, labels.tolist(), strict=True):
            top, left = 4 * (label // 2), 4 * (label % 2)
            image[:, top : top + 4, left : left + 4] += 128
        return ArraySplit(pixels, labels)

    return Dataset(
        name="tiny",
        train=split(64),
        validation=split(16),
        test=split(16),
        num_classes=_CLASSES,
        image_shape=(3, 8, 8),
    )


def _fill(module: nn.Module, generator: torch.Generator) -> None:
    """Fill weights and buffers with values from 0.5 to 1.5, so that every channel is active."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
