"""Losses: how far the output of a network in training is from its teacher's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


__all__ = ["Loss", "LossContext"]


@dataclass(frozen=True, kw_only=True)
class LossContext:
    """What a loss may take into account beside output and target, of the same rows.

    In fine-tuning the whole network is the block, with index 0 and an empty name.

    Attributes:
        input: What the network in training was given, (B, C, …).
        index: The block's position in the chain, from 0.
        block: The block's name.
        epoch: Epochs that are finished.
        features: Outputs of the modules that the loss names in `features`, by name; the loss is
            differentiable in them.
        teacher_features: The same of the teacher's segment, on the teacher's input.
        labels: The labels of the rows, int64 (B,), or float32 (B, classes) where the augmentation
            mixes images; None without labels, and in the blockwise phases.
    """

    input: Tensor
    index: int
    block: str
    epoch: int
    features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None


class Loss(Protocol):
    """The distance of an output from the teacher's: an error, over a scale if there is one.

    Without more, both must be means over the rows of a batch, so that workers can share a batch,
    and a batch can be trained in micro-batches; their quotient need not be. A loss may also have:

    - `scale(target)`: a method that returns a scalar; the error is divided by it;
    - `additive = False`: for an error that is no mean over the rows, such as one of distances
      between rows. The block is then trained on whole batches, by one worker at a time;
    - `features`: names of modules inside the block, such as `("conv1", "layer.0")`, as a field or a
      class attribute. The replacement and the teacher's segment must both have them, and call each
      once in a forward pass. A pattern, such as `"*"`, is replaced by the names of the children
      that it matches; in fine-tuning these are the segments of the chain.

    A loss depends on its arguments alone: it keeps nothing from one call to the next, and draws no
    random numbers from torch's global generator.
    """

    name: ClassVar[str]

    def error(self, output: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return a scalar, differentiable in the output, and change neither argument.

        Planning, in the host process, tries it on a few rows of each block, and an exception stops
        the run. Then it is called for each block in each step, in every worker, and an exception
        fails the block. A loss that `finetune.loss` selects is called in the host process.

        Args:
            output: The output of the network in training, (B, …).
            target: The teacher's output, of the same shape.
            args: Nothing.
            kwargs: `context`, a `LossContext`, if the method has an argument of that name.
        """
        ...
