"""Builders: how a block is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.core.blocks import Block


__all__ = ["BlockBuilder", "Built"]


@dataclass(frozen=True)
class Built:
    """A replacement whose shapes the builder chose by weights or calibration.

    Attributes:
        module: The replacement.
        options: The builder's options that lead to the same shapes for all weights, such as the
            chosen ranks; they override the configured ones. Each is an option of the builder, and
            its value JSON: text, numbers, booleans, None, lists and mappings of these.
    """

    module: nn.Module
    options: Mapping[str, Any] = field(default_factory=dict)


class BlockBuilder(Protocol):
    """Builds the cheaper module that replaces a block.

    A builder may have a class attribute `sizes`, a sequence of mappings of options, with which it
    builds larger and smaller replacements than by its defaults. A run whose target limits the cost
    of the student trains a candidate of each size (`candidates=null`).

    A builder with `sizes` takes part in `builder=auto`, after `low-rank`: a block gets the first
    replacement that is cheaper; if the target limits the cost, its candidates are of all builders
    that fit it. One for blocks of any kind has a class attribute `fallback = True`: `auto` asks it
    after all others. One with `within_limits = True` takes part only if the target limits the cost
    or the loss, so that its candidates are measured beside others.

    A builder that can fit its replacements to calibration has a class attribute `calibrated`, a
    mapping of the options with which it does, such as `{"whiten": True}`. The first guess of a run
    within limits, by which few candidates are trained, then rests on the error of such a
    replacement; what is trained is built without these options.
    """

    name: ClassVar[str]

    def build(self, segment: nn.Module, block: Block) -> nn.Module | Built | None:
        """Return a replacement for a segment, or None to keep the teacher's.

        The replacement maps `block.input_shape` to `block.output_shape` and shares no tensor with
        `segment`. Random initial weights come from torch's global generator, which the core seeds
        by the run's seed and the block's name.

        Segment, calibration and replacement are on the CPU.

        A parameter `calibration`, if there is one, gets inputs of the block: float32 (N,
        *input_shape). They are the teacher's activations on 256 training images, chosen by the
        run's seed and not augmented; on fewer where activations are large. It is None wherever only
        the shapes matter. A builder that needs it with some of its options only has a property
        `needs_calibration`, a bool, so that it is not computed for the others.

        Called once for each block in planning, in the host process, with `calibration`; then, to
        check that the shapes do not depend on it, without and from other weights. Called without
        `calibration` in every worker for the blocks that it trains, and when a student is loaded:
        then the teacher has random weights, and the replacement gets its weights from a file. A
        builder whose shapes depend on weights or calibration returns `Built`, and is created with
        its options in those places.

        Args:
            segment: The teacher's segment, which must not be modified.
            block: Its name, position and shapes.
        """
        ...
