"""No block at all: a scale and a shift for each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from pbkd import hookimpl

if TYPE_CHECKING:
    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 1


@dataclass(frozen=True)
class IdentityBuilder:
    """Drop a block whose output has its input's shape.

    What is left is a scale and a shift for each channel, which start as one and zero: residual
    networks often lose little by losing a block (Veit et al. 2016, arXiv 1605.06431). A block
    that changes the shape keeps the teacher's segment.
    """

    name: ClassVar[str] = "identity"

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        """Return the scale and shift, or None where the shapes differ."""
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
    """Hand over the builder `identity`."""
    return [IdentityBuilder]
