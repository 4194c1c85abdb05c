"""Selectors: which candidates a student is made of within a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["BlockOption", "Selector"]


@dataclass(frozen=True)
class BlockOption:
    """One option for a block: a candidate or the teacher's segment.

    Attributes:
        name: The candidate's name; None for the teacher's segment.
        harm: The drop in the network's score that it causes.
        costs: The amount that it needs of each quantity: `macs`, `parameters` and `latency_ms`.
    """

    name: str | None
    harm: float
    costs: Mapping[str, float]


class Selector(Protocol):
    """Selects one option for each block under limits (`target.selector=NAME`).

    The core checks that every block has one of its options, and that the limits are kept. A
    selector whose selections have the least total harm has a class attribute `exact = True`.
    """

    name: ClassVar[str]

    def select(
        self, options: Mapping[str, Sequence[BlockOption]], limits: Mapping[str, float]
    ) -> Mapping[str, BlockOption] | None:
        """Select one option per block, so that the sums of their costs are within the limits.

        Called in planning, in the host process, to see whether the target can be met (all harms are
        0 then) and to predict the student; and after the candidates are scored.

        Args:
            options: The options of each block, in the order of the chain.
            limits: The limit of each limited quantity, for all blocks together.

        Returns:
            The selected option of each block; None if no selection meets all limits.
        """
        ...
