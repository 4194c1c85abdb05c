"""Multiple-choice knapsack: one option per block, of least harm, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["Option", "cheapest_options", "solve_knapsack"]


@dataclass(frozen=True)
class Option:
    """One option for a block: a candidate or the teacher's segment.

    Attributes:
        name: The candidate's name; None for the teacher's segment.
        harm: The drop in the network's score that it causes.
        costs: The amount that it needs of each limited quantity.
    """

    name: str | None
    harm: float
    costs: Mapping[str, float]


def solve_knapsack(
    options: Mapping[str, Sequence[Option]], limits: Mapping[str, float]
) -> dict[str, Option] | None:
    """Select one option per block with the least total harm within all limits.

    Solved exactly as a mixed-integer linear program, as Puzzle (arXiv 2411.19146) does for the
    blocks of language models. Harms are assumed to be additive.

    Args:
        options: The options of each block.
        limits: The limit of each quantity, for all blocks together.

    Returns:
        The selected option of each block; None if no selection meets all limits.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import

    flat = [(block, option) for block, choices in options.items() for option in choices]
    if not flat:
        return {}
    blocks = list(options)
    one_per_block = np.array([[float(block == name) for name, _ in flat] for block in blocks])
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


def cheapest_options(
    options: Mapping[str, Sequence[Option]], limits: Mapping[str, float]
) -> dict[str, Option]:
    """Return the cheapest option of each block.

    Every quantity is measured relative to the block's most expensive option; an option's cost is
    its largest relative quantity.
    """
    return {
        block: min(choices, key=partial(_relative_cost, choices=choices, limits=limits))
        for block, choices in options.items()
    }


def _relative_cost(option: Option, choices: Sequence[Option], limits: Mapping[str, float]) -> float:
    largest = {key: max(other.costs[key] for other in choices) or 1.0 for key in limits}
    return max((option.costs[key] / largest[key] for key in limits), default=0.0)
