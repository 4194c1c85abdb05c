"""The convolutions that builders replace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator


_IMAGE_CHANNELS = 4


def dense_convolutions(
    segment: nn.Module, *, stem: bool = False
) -> Iterator[tuple[str, nn.Conv2d]]:
    """Find the convolutions that mix both pixels and channels.

    Grouped convolutions count if their groups have several channels. Subclasses of `nn.Conv2d` do
    not: they may compute something else.

    Args:
        segment: A segment of the chain.
        stem: Whether to include convolutions of images (at most 4 input channels). They have few
            MACs, and a cheap form loses information that all later blocks need.

    Yields:
        Name and module.
    """
    for name, module in segment.named_modules():
        if type(module) is not nn.Conv2d or max(module.kernel_size) == 1:
            continue
        mixes = module.groups == 1 or module.groups < module.in_channels
        if mixes and (stem or module.in_channels > _IMAGE_CHANNELS):
            yield name, module
