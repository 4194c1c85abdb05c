"""Selectors: which candidates a student is made of under a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["Selector"]


class Selector(Protocol):
    """Selects one option for each block under limits."""

    name: ClassVar[str]

    def select(
        self, options: Mapping[str, Sequence[Any]], limits: Mapping[str, float]
    ) -> Mapping[str, Any] | None:
        """Select one option per block, so that the sums of their costs are within the limits.

        Called once, in the host process, after the candidates are scored.

        Args:
            options: The options of each block: `pbkd.planning.Option`.
            limits: The limit of each quantity, for all blocks together.

        Returns:
            The selected option of each block; None if no selection meets all limits.
        """
        ...
