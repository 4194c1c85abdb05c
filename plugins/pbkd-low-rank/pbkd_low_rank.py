"""Low-rank replacements: a vertical, then a horizontal convolution, from the teacher's kernels."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from pbkd import dense_convolutions, hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class LowRankBuilder:
    """Replace every dense k x k convolution of a block by a k x 1 and a 1 x k convolution.

    There is no activation between the two (Jaderberg et al. 2014, arXiv 1405.3866). They are
    initialised with the least-squares optimum, by the SVD of the kernel as a matrix of (in, row) by
    (out, column). Each group of a grouped convolution gets such a pair. The block's other layers
    keep the teacher's weights.

    `share` is the pair's maximum share of the dense convolution's MACs (for equal strides); it
    determines the channels between the two, rounded down to a multiple of `multiple`, at least one.
    The default makes a block about four times cheaper. `stem` also replaces convolutions of images.
    """

    name: ClassVar[str] = "low-rank"
    share: float = 0.24
    multiple: int = 1
    stem: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"'builder.share' is {self.share}, but must be above 0 and at most 1."
            )
        if self.multiple < 1:
            raise ConfigError(f"'builder.multiple' is {self.multiple}, but must be at least 1.")

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Copy the segment and replace its dense convolutions.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.

        Returns:
            The replacement; None if the segment has no such convolution.
        """
        holder = nn.Sequential(copy.deepcopy(segment))
        dense = [
            (name, convolution)
            for name, convolution in dense_convolutions(holder, stem=self.stem)
            if min(convolution.kernel_size) > 1
        ]
        for name, convolution in dense:
            holder.set_submodule(name, thin_pair(convolution, self._channels(convolution)))
        return holder[0] if dense else None

    def _channels(self, dense: nn.Conv2d) -> int:
        """Return the channels per group between the two convolutions."""
        height, width = dense.kernel_size
        before, after = dense.in_channels // dense.groups, dense.out_channels // dense.groups
        # The vertical convolution has the input's columns, the horizontal one the output's.
        each = height * before * dense.stride[1] + width * after
        fitting = math.floor(self.share * height * width * before * after / each)
        return max(1, fitting - fitting % self.multiple if fitting >= self.multiple else fitting)


def thin_pair(dense: nn.Conv2d, channels: int) -> nn.Sequential:
    """Approximate a convolution by a k x 1 and a 1 x k convolution, in the least-squares sense.

    Args:
        dense: The k x k convolution.
        channels: Channels per group between the two; more than the kernel's rank add nothing.

    Returns:
        The two convolutions in a row.
    """
    groups, (height, width) = dense.groups, dense.kernel_size
    before, after = dense.in_channels // groups, dense.out_channels // groups
    channels = min(channels, before * height, after * width)
    tall = _like(dense, 0, dense.in_channels, groups * channels, bias=False)
    wide = _like(dense, 1, groups * channels, dense.out_channels, bias=dense.bias is not None)
    kernels = dense.weight.detach().reshape(groups, after, before, height, width)
    matrices = kernels.permute(0, 2, 3, 1, 4).reshape(groups, before * height, after * width)
    left, scale, right = torch.linalg.svd(matrices, full_matrices=False)
    root = scale[:, :channels].sqrt()
    down = (left[..., :channels] * root[:, None]).mT  # (groups, channels, before x height)
    up = (right[:, :channels].mT * root[:, None]).reshape(groups, after, width, channels)
    with torch.no_grad():
        tall.weight.copy_(down.reshape(groups * channels, before, height, 1))
        wide.weight.copy_(up.mT.reshape(groups * after, channels, 1, width))
        if dense.bias is not None and wide.bias is not None:
            wide.bias.copy_(dense.bias)
    return nn.Sequential(tall, wide)


def _like(dense: nn.Conv2d, side: int, before: int, after: int, *, bias: bool) -> nn.Conv2d:
    """Return a convolution with the geometry of `dense` along one axis only."""

    def along(values: Any, other: int) -> tuple[int, int]:
        return (values[0], other) if side == 0 else (other, values[1])

    padding: Any = dense.padding
    return nn.Conv2d(
        before,
        after,
        along(dense.kernel_size, 1),
        stride=along(dense.stride, 1),
        padding=padding if isinstance(padding, str) else along(padding, 0),
        dilation=along(dense.dilation, 1),
        groups=dense.groups,
        bias=bias,
        padding_mode=dense.padding_mode,
    )


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `low-rank`."""
    return [LowRankBuilder]
