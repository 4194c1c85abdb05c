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
    """Yield name and module of each convolution that mixes both pixels and channels.

    It may be one of groups, if these have several channels each; subclasses of `nn.Conv2d`, which
    may compute something else, are left out. Those of images, with at most 4 input channels, are
    among them only with `stem`: they have few MACs, and a cheap form has nearly no channels to hold
    what all later blocks live on.
    """
    for name, module in segment.named_modules():
        if type(module) is not nn.Conv2d or max(module.kernel_size) == 1:
            continue
        mixes = module.groups == 1 or module.groups < module.in_channels
        if mixes and (stem or module.in_channels > _IMAGE_CHANNELS):
            yield name, module
