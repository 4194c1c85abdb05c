"""Calibration: inputs of the blocks, from which a builder may choose shapes and weights."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import torch

from pbkd.core.process import thread_count
from pbkd.models.chain import describe_blocks
from pbkd.plugin.signatures import accepts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from torch import Tensor, nn

    from pbkd.core.blocks import Block
    from pbkd.protocols import BlockBuilder


__all__ = [
    "SAMPLES",
    "block_inputs",
    "checksum",
    "sample_count",
    "takes_calibration",
    "with_calibration",
]

SAMPLES = 256
"""The number of inputs of a block, unless they are large."""

_MAX_BYTES = 2**28  # of the largest activation; two of them are in memory at a time
_ROWS = 16  # in one forward pass, which bounds the memory that segments need for themselves


def takes_calibration(builder: BlockBuilder) -> bool:
    """Whether a builder asks for calibration: by its signature, unless its options need none."""
    return accepts(builder.build, "calibration") and getattr(builder, "needs_calibration", True)


def with_calibration(
    needed: bool,
    chain: nn.Sequential,
    blocks: Sequence[Block],
    images: Callable[[], Tensor],
) -> Iterator[tuple[Block, Tensor | None]]:
    """Yield each block with its inputs, or with None if they are not needed.

    Args:
        needed: Whether they are.
        chain: The teacher's chain, in evaluation mode.
        blocks: The blocks, in the order of the chain.
        images: Returns the normalised images, (N, C, H, W); called only if they are needed.
    """
    if needed:
        positions = [block.position for block in blocks]
        yield from zip(blocks, block_inputs(chain, images(), positions), strict=True)
    else:
        yield from ((block, None) for block in blocks)


def sample_count(chain: nn.Sequential, image: Tensor) -> int:
    """Return how many inputs calibration takes: `SAMPLES`, or those that fit into 256 MiB.

    Args:
        chain: The teacher's chain.
        image: One image, (1, C, H, W).

    Returns:
        The number of images, which is the same for all blocks, at least 1.
    """
    blocks = describe_blocks(chain, image, [name for name, _ in chain.named_children()])
    largest = max(math.prod(shape) for b in blocks for shape in (b.input_shape, b.output_shape))
    return max(1, min(SAMPLES, _MAX_BYTES // (4 * largest)))


@torch.no_grad()
def block_inputs(
    chain: nn.Sequential, images: Tensor, positions: Collection[int]
) -> Iterator[Tensor]:
    """Compute the inputs of blocks, one after the other.

    They do not depend on the number of threads.

    Args:
        chain: The teacher's chain, in evaluation mode.
        images: Normalised images, (N, C, H, W).
        positions: The positions of the blocks in the chain.

    Yields:
        The inputs of each block, float32 (N, ...) on the CPU, in the order of the chain.
    """
    x = images
    last = max(positions, default=-1)
    for position, segment in enumerate(chain):
        if position in positions:
            yield x.float().cpu()
        if position >= last:
            return
        with thread_count(1):
            x = torch.cat([segment(part) for part in torch.split(x, _ROWS)])


def checksum(tensor: Tensor) -> int:
    """Compute the CRC-32 of a tensor's values."""
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return zlib.crc32(values.numpy().tobytes())
