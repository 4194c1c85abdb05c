"""Removal of a block, except for a scale and a shift per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from pbkd import hookimpl

if TYPE_CHECKING:
    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class IdentityBuilder:
    """Remove a block whose output has the shape of its input.

    A scale (initially one) and a shift (zero) per channel remain. Residual networks often lose
    little accuracy without a block (Veit et al. 2016, arXiv 1605.06431). A block that changes the
    shape keeps the teacher's segment.
    """

    name: ClassVar[str] = "identity"

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Build the scale and shift.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.

        Returns:
            A depthwise 1x1 convolution; None if the block changes the shape.
        """
        if len(block.input_shape) != 3 or block.input_shape != block.output_shape:
            return None
        channels = block.input_shape[0]
        scale = nn.Conv2d(channels, channels, 1, groups=channels)
        with torch.no_grad():
            scale.weight.fill_(1)
            torch.nn.init.zeros_(scale.bias)  # type: ignore[arg-type]
        return scale


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `identity`."""
    return [IdentityBuilder]
