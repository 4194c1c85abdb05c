"""A loss as the training loops call it: bound to one block, checked, and named when it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pbkd.errors import PLUGIN_FAILURES, PluginError, is_out_of_memory
from pbkd.models.precision import autocast
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.plugin.signatures import accepts
from pbkd.protocols import LossContext
from pbkd.training.features import run_with_features

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from pbkd.protocols import Loss


__all__ = ["AppliedLoss", "apply_to_blocks", "needs_whole_batches", "safe_scale"]

_NONE: Mapping[str, Tensor] = MappingProxyType({})


def safe_scale(scale: Tensor) -> Tensor:
    """Return a scale that is safe to divide by, also if the target is all zeros."""
    return scale.clamp_min(1e-12)


def needs_whole_batches(loss: Loss) -> bool:
    """Whether a loss is no mean over rows, so that no batch can be split."""
    return not getattr(loss, "additive", True)


@dataclass(frozen=True)
class AppliedLoss:
    """A loss, applied to one network in training.

    Attributes:
        loss: The loss.
        block: The block's name; empty for the whole network.
        index: The block's position in the chain.
        teacher: The teacher's segment, which the loss's features come from.
        teacher_forward: The same in the precision of the run; None for itself.
        features: Names of the modules whose outputs the loss asks for.
        takes_context: Whether the loss asks for a context.
    """

    loss: Loss
    block: str = ""
    index: int = 0
    teacher: nn.Module | None = None
    teacher_forward: nn.Module | None = None
    features: tuple[str, ...] = field(init=False)
    takes_context: bool = field(init=False)

    def __post_init__(self) -> None:
        """Find out what the loss asks for."""
        object.__setattr__(self, "features", tuple(getattr(self.loss, "features", ())))
        object.__setattr__(self, "takes_context", accepts(self.loss.error, "context"))

    def __call__(
        self, output: Tensor, target: Tensor, context: LossContext | None = None
    ) -> Tensor:
        """Return the loss of a whole batch: its error over its scale, a scalar.

        Raises:
            PluginError: If the loss fails or breaks its protocol.
        """
        error, scale = self.error(output, target, context), self.scale(target)
        return error if scale is None else error / safe_scale(scale)

    def error(self, output: Tensor, target: Tensor, context: LossContext | None) -> Tensor:
        """Return the error of some rows, a scalar; raise `PluginError` as `__call__`."""
        before = output._version, target._version, context and context.input._version
        try:
            if context is None:
                value = self.loss.error(output, target)
            else:
                value = self.loss.error(output, target, context=context)
        except PLUGIN_FAILURES as failure:
            raise self._failed("error", failure) from failure
        if (output._version, target._version, context and context.input._version) != before:
            raise self._faulty("error changes an argument in place: let it work on a copy")
        if not isinstance(value, Tensor) or value.ndim:
            raise self._no_scalar("error", value)
        if not value.requires_grad and output.requires_grad:
            raise self._faulty(
                "error returns a value without a gradient: compute it from the output with torch,"
                " without detach() or item()"
            )
        return value

    def scale(self, target: Tensor) -> Tensor | None:
        """Return the scale of some rows, a scalar; None if there is none."""
        scale: Callable[[Tensor], Tensor] | None = getattr(self.loss, "scale", None)
        if scale is None:
            return None
        before = target._version
        try:
            value = scale(target)
        except PLUGIN_FAILURES as failure:
            raise self._failed("scale", failure) from failure
        if target._version != before:
            raise self._faulty("scale changes its argument in place: let it work on a copy")
        if not isinstance(value, Tensor) or value.ndim:
            raise self._no_scalar("scale", value)
        return value

    def forward(
        self, network: nn.Module, forward: nn.Module, x: Tensor
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Run a network; return its output and the features that the loss asks for.

        Args:
            network: The network in training.
            forward: The same in the precision of the run.
            x: Its input, (B, C, …).

        Raises:
            PluginError: If the network does not have the features.
        """
        if not self.features:
            return forward(x), _NONE
        return run_with_features(network, forward, x, self.features, self._subject[0])

    def context(
        self,
        x: Tensor,
        *,
        epoch: int,
        features: Mapping[str, Tensor] = _NONE,
        teacher_features: Mapping[str, Tensor] = _NONE,
        labels: Tensor | None = None,
    ) -> LossContext | None:
        """Return what the loss may take into account; None if it does not ask.

        Args:
            x: The input of the network in training, (B, C, …).
            epoch: Epochs that are finished.
            features: What `forward` returned.
            teacher_features: What `teacher_features` or `teach` returned.
            labels: The labels of the rows, in fine-tuning.
        """
        if not self.takes_context:
            return None
        return LossContext(
            input=x,
            index=self.index,
            block=self.block,
            epoch=epoch,
            features=features,
            teacher_features=teacher_features,
            labels=labels,
        )

    def teacher_features(self, x: Tensor) -> Mapping[str, Tensor]:
        """Return the teacher's features that the loss asks for; none if it asks for none.

        Args:
            x: The teacher's input, (B, C, …).

        Raises:
            PluginError: If the teacher does not have the features.
        """
        return self.teach(x)[1] if self.features and self.teacher is not None else _NONE

    @torch.no_grad()
    def teach(self, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Run the teacher once; return its output, and its features as `teacher_features`."""
        assert self.teacher is not None, "a loss learns from the teacher that it is applied to"
        forward = self.teacher_forward or self.teacher
        return run_with_features(self.teacher, forward, x, self.features, self._subject[1])

    @property
    def _subject(self) -> tuple[str, str]:
        """What the network in training and the teacher's are called."""
        if self.block:
            return "the replacement", "the teacher's segment"
        return "the student", "the teacher"

    def _no_scalar(self, method: str, value: object) -> PluginError:
        if isinstance(value, Tensor):
            fault = f"a tensor of shape {tuple(value.shape)}, not (): take its mean"
        else:
            fault = f"{type(value).__name__}, not a tensor: compute it with torch"
        return self._faulty(f"{method} returns {fault}")

    def _failed(self, method: str, failure: BaseException) -> BaseException:
        if is_out_of_memory(failure):
            return failure
        return PluginError(f"{describe_failure('loss', self.loss, method, failure)}.")

    def _faulty(self, fault: str) -> PluginError:
        return PluginError(f"{describe_strategy('loss', self.loss)} is faulty: {fault}.")


def apply_to_blocks(
    loss: Loss, chain: nn.Sequential, dtype: torch.dtype = torch.float32
) -> dict[str, AppliedLoss]:
    """Apply a loss to every block.

    Args:
        loss: The loss.
        chain: The teacher's chain, with all its modules.
        dtype: What the blockwise phases compute in.

    Returns:
        The applied losses, by block.
    """
    return {
        name: AppliedLoss(loss, name, index, segment, autocast(segment, dtype))
        for index, (name, segment) in enumerate(chain.named_children())
    }
