"""Builders: how a block is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import nn

    from pbkd.core.blocks import Block


__all__ = ["BlockBuilder"]


class BlockBuilder(Protocol):
    """Builds the cheaper module that replaces a block."""

    name: ClassVar[str]

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:
        """Return a replacement for a segment, or None to keep the teacher's.

        The replacement maps `block.input_shape` to `block.output_shape` and shares no tensor with
        `segment`. Random initial weights come from torch's global generator, which the core seeds
        by the run's seed and the block's name.

        Called once for each block in planning, in the host process; in every worker, for the blocks
        that it trains; and when a student is loaded.

        Args:
            segment: The teacher's segment, which must not be modified.
            block: Its name, position and shapes.
        """
        ...
