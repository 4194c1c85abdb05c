"""The exact choice of candidates within limits, as a mixed-integer linear program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pbkd import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.protocols import BlockOption, Selector

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class MilpSelector:
    """Select the options with the least total harm, exactly.

    It is a multiple-choice knapsack, solved as Puzzle (arXiv 2411.19146) does for the blocks of
    language models. Harms are assumed to be additive.
    """

    name: ClassVar[str] = "milp"
    exact: ClassVar[bool] = True

    def select(
        self, options: Mapping[str, Sequence[BlockOption]], limits: Mapping[str, float]
    ) -> dict[str, BlockOption] | None:
        """Solve the program.

        Args:
            options: The options of each block.
            limits: The limit of each quantity, for all blocks together.

        Returns:
            The selected option of each block; None if no selection meets all limits.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import

        flat = [(block, option) for block, choices in options.items() for option in choices]
        one_per_block = np.array([[float(block == name) for name, _ in flat] for block in options])
        constraints = [LinearConstraint(one_per_block, 1, 1)]
        for key, limit in limits.items():
            # In units of the limit: the solver's tolerance is absolute.
            unit = abs(limit) or 1.0
            costs = np.array([[option.costs[key] / unit for _, option in flat]])
            constraints.append(LinearConstraint(costs, -np.inf, limit / unit))
        solution = milp(
            [option.harm for _, option in flat],
            integrality=np.ones(len(flat)),
            bounds=Bounds(0, 1),
            constraints=constraints,
        )
        if solution.x is None:
            return None
        return {
            block: option
            for (block, option), value in zip(flat, solution.x, strict=True)
            if value > 0.5
        }


@hookimpl
def register_selectors() -> list[type[Selector]]:
    """Register the selector `milp`."""
    return [MilpSelector]
