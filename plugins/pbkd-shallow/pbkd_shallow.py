"""Shallow replacements: a stage that does without some of its residual blocks."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import fx, nn

from pbkd import Built, hookimpl
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2

_TINY = 1e-30


@dataclass(frozen=True)
class ShallowBuilder:
    """Leave out residual blocks of a stage, and keep the others with the teacher's weights.

    A residual network loses little without one of its blocks (Veit et al. 2016, arXiv 1605.06431),
    and a stage that is trained to give the teacher's output without several loses less. Fewer
    layers are faster on every device, also where layers are so thin that splitting them is not.

    What can be left out are parts of a sequence whose output has the shape of their input, with
    at least two convolutions each. Those that change their input least on the calibration go first.

    Args:
        share: The share of such parts that is kept, rounded to a whole number of at least one.
        left_out: The positions, among such parts, of those that are left out; None for a choice by
            calibration.
    """

    name: ClassVar[str] = "shallow"
    sizes: ClassVar[Sequence[Mapping[str, float]]] = tuple(
        {"share": share} for share in (0.75, 0.6, 0.35, 0.2)
    )
    within_limits: ClassVar[bool] = True
    share: float = 0.5
    left_out: list[int] | None = None

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if not 0 < self.share < 1:
            raise ConfigError(f"'builder.share' is {self.share}, but must be above 0 and below 1.")
        if self.left_out is not None and min(self.left_out, default=0) < 0:
            raise ConfigError(f"'builder.left_out' is {self.left_out}, but none may be below 0.")

    @property
    def needs_calibration(self) -> bool:
        """Whether `build` takes calibration into account."""
        return self.left_out is None

    def build(
        self, segment: nn.Module, block: Block, calibration: Tensor | None = None
    ) -> Built | None:
        """Copy the segment without some of its parts.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.
            calibration: Inputs of the segment; without them the first parts are left out.

        Returns:
            The replacement, with the positions that are left out; None if it has fewer than two
            parts that could be.
        """
        network = copy.deepcopy(segment)
        x = torch.zeros(1, *block.input_shape) if calibration is None else calibration
        changes = _changes(network, x)
        if len(changes) < 2:
            return None
        left_out = self._left_out(list(changes.values()), block)
        names = list(changes)
        for index in left_out:
            network.set_submodule(names[index], nn.Identity())
        return Built(network, {"left_out": left_out})

    def _left_out(self, changes: Sequence[float], block: Block) -> list[int]:
        """Return the positions of the parts that are left out, in ascending order."""
        if self.left_out is None:
            kept = max(1, round(self.share * len(changes)))
            by_change = sorted(range(len(changes)), key=changes.__getitem__)
            return sorted(by_change[: max(1, len(changes) - kept)])
        if max(self.left_out, default=0) >= len(changes):
            raise ConfigError(
                f"'builder.left_out' is {self.left_out}, but '{block.name}' has"
                f" {len(changes)} parts that can be left out."
            )
        return self.left_out


@torch.no_grad()
def _changes(network: nn.Module, x: Tensor) -> dict[str, float]:
    """Return how much each part that can be left out changes its input, by name.

    Args:
        network: The network, in evaluation mode.
        x: Its inputs, (N, *input_shape).

    Returns:
        The squared change relative to the squared output, in the order of the forward pass.
    """
    changes: dict[str, float] = {}

    def see(name: str, inputs: Any, output: Any) -> None:
        before = inputs[0] if len(inputs) == 1 else None
        if isinstance(before, torch.Tensor) and getattr(output, "shape", None) == before.shape:
            change = (output - before).square().sum() / output.square().sum().clamp_min(_TINY)
            changes[name] = float(change)

    hooks = [
        part.register_forward_hook(lambda _, inputs, output, name=name: see(name, inputs, output))
        for name, part in _parts(network)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return changes


def _parts(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the parts of a sequence, and of the sequences in it, with two convolutions."""
    if not isinstance(network, (nn.Sequential, fx.GraphModule)):
        return
    for name, part in network.named_children():
        if isinstance(part, (nn.Sequential, fx.GraphModule)):
            yield from _parts(part, f"{prefix}{name}.")
        elif sum(isinstance(layer, nn.Conv2d) for layer in part.modules()) > 1:
            yield prefix + name, part


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `shallow`."""
    return [ShallowBuilder]
