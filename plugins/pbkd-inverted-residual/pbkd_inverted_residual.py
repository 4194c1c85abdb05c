"""Inverted residual blocks of MobileNetV2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from pbkd import hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2

_IMAGE_CHANNELS = 4


@dataclass(frozen=True)
class InvertedResidualBuilder:
    """Replace a whole block by one inverted residual of MobileNetV2.

    A pointwise convolution to `expansion` times the input's channels, a depthwise one of width
    `kernel` with the block's stride, and a pointwise one to the output's channels, each with
    BatchNorm, the first two with ReLU6; the input is added if it has the output's shape (Sandler
    et al. 2018, arXiv 1801.04381). All weights are initialised at random.

    A block without an integer stride keeps the teacher's segment, as does one of images (at most 4
    channels), unless `stem` is set.
    """

    name: ClassVar[str] = "inverted-residual"
    sizes: ClassVar[Sequence[Mapping[str, float]]] = tuple(
        {"expansion": expansion} for expansion in (4.0, 1.0)
    )
    fallback: ClassVar[bool] = True
    expansion: float = 2.0
    kernel: int = 3
    stem: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.expansion <= 0:
            raise ConfigError(f"'builder.expansion' is {self.expansion}, but must be above 0.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"'builder.kernel' is {self.kernel}, but must be odd.")

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Build the inverted residual.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.

        Returns:
            The replacement; None if the block's input or output is no feature map, or its input an
            image, or its stride not an integer.
        """
        if len(block.input_shape) != 3 or len(block.output_shape) != 3:
            return None
        before, *map_before = block.input_shape
        if before <= _IMAGE_CHANNELS and not self.stem:
            return None
        after, *map_after = block.output_shape
        strides = [-(-x // y) for x, y in zip(map_before, map_after, strict=True)]
        shrunk = [-(-x // stride) for x, stride in zip(map_before, strides, strict=True)]
        if shrunk != map_after:
            return None
        return InvertedResidual(
            before, after, (strides[0], strides[1]), round(self.expansion * before), self.kernel
        )


class InvertedResidual(nn.Module):
    """An inverted residual: (N, before, H, W) to (N, after, H / stride, W / stride), rounded up."""

    def __init__(
        self, before: int, after: int, stride: tuple[int, int], inside: int, kernel: int
    ) -> None:
        """Initialise at random.

        Args:
            before: Input channels.
            after: Output channels.
            stride: Stride of the depthwise convolution.
            inside: Channels of the depthwise convolution.
            kernel: Width of the depthwise kernel.
        """
        super().__init__()
        inside = max(1, inside)
        self.layers = nn.Sequential(
            nn.Conv2d(before, inside, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(
                inside, inside, kernel, stride, padding=kernel // 2, groups=inside, bias=False
            ),
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(inside, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.adds = before == after and stride == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block's output."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `inverted-residual`."""
    return [InvertedResidualBuilder]
