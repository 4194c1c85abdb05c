"""Which convolutions of a segment builders replace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMAGE_CHANNELS = 4


def dense_convolutions(
    segment: nn.Module, *, stem: bool = False
) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield name and module of each ordinary convolution with a kernel wider than one pixel.

    Grouped convolutions are not among them, nor subclasses of `nn.Conv2d`, which may compute
    something else. Those of images, with at most 4 input channels, are only with `stem`: they have
    few MACs, and a cheap form has nearly no channels to hold what all later blocks live on.
    """
    for name, module in segment.named_modules():
        dense = type(module) is nn.Conv2d and module.groups == 1 and max(module.kernel_size) > 1
        if dense and (stem or module.in_channels > _IMAGE_CHANNELS):
            yield name, module
