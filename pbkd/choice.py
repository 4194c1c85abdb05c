"""Which candidate each block gets: the least harm that the budget allows, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Option", "cheapest", "choose"]


@dataclass(frozen=True)
class Option:
    """What a block can get: a candidate, or, with `name` None, the teacher's own segment.

    `harm` is what it does to the network, and `costs` what it takes of each limited quantity.
    """

    name: str | None
    harm: float
    costs: Mapping[str, float]


def choose(
    options: Mapping[str, Sequence[Option]], limits: Mapping[str, float]
) -> dict[str, Option] | None:
    """Return an option for each block, of least total harm within all limits; None if none is.

    A multiple-choice knapsack, solved as an integer program (as Puzzle, arXiv 2411.19146, does for
    the blocks of language models). Harms are taken to add up.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # slow, and few runs choose

    flat = [(block, option) for block, some in options.items() for option in some]
    if not flat:
        return {}
    blocks = list(options)
    one_each = np.array([[float(block == of) for of, _ in flat] for block in blocks])
    constraints = [LinearConstraint(one_each, 1, 1)]
    for key, limit in limits.items():
        # In units of the limit, so that the solver's tolerance means the same for every quantity.
        unit = abs(limit) or 1.0
        costs = np.array([[option.costs[key] / unit for _, option in flat]])
        constraints.append(LinearConstraint(costs, -np.inf, limit / unit))
    found = milp(
        [option.harm for _, option in flat],
        integrality=np.ones(len(flat)),
        bounds=Bounds(0, 1),
        constraints=constraints,
    )
    if found.x is None:
        return None
    return {of: option for (of, option), taken in zip(flat, found.x, strict=True) if taken > 0.5}


def cheapest(
    options: Mapping[str, Sequence[Option]], limits: Mapping[str, float]
) -> dict[str, Option]:
    """Return each block's option that takes the least, each quantity in units of its dearest."""
    weighed = {
        block: [(_weight(option, some, limits), index) for index, option in enumerate(some)]
        for block, some in options.items()
    }
    return {block: options[block][min(weights)[1]] for block, weights in weighed.items()}


def _weight(option: Option, some: Sequence[Option], limits: Mapping[str, float]) -> float:
    dearest = {key: max(other.costs[key] for other in some) or 1.0 for key in limits}
    return max((option.costs[key] / dearest[key] for key in limits), default=0.0)
