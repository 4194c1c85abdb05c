"""Which student to try, where only the loss of accuracy is limited: the cheapest that may keep it.

The cost is MACs. What a student loses after it is trained is taken to be in proportion to the total
harm of its candidates, first by a share of what they lose alone, then as the last student has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.planning.budget import pick_candidates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.config.schema import TargetConfig
    from pbkd.planning.plan import Candidates
    from pbkd.protocols import Selector
    from pbkd.training.task import DistillationTask


__all__ = ["MOST_TRIES", "Tried", "Try", "cheapest_share", "harm_to_try", "total_harm"]

MOST_TRIES = 4
_LASTING = 0.25  # of what candidates lose alone is lost after fine-tuning
_AIM = 0.5  # of the points that may be lost: the interval needs the rest
_LEAST_AIM = 0.25
_STEP = 0.25, 0.75  # the next student's harm, relative to the last one's
_PARTS = 100  # shares of the MACs that are tried


@dataclass(frozen=True)
class Try:
    """A student that lost more than it may.

    Attributes:
        macs: The share of the teacher's MACs within which its candidates were chosen.
        harm: Their total harm.
        lost: The points that it lost on the validation split.
        least: The lower end of the 95 % interval.
        most: The upper end.
    """

    macs: float
    harm: float
    lost: float
    least: float
    most: float


@dataclass(frozen=True)
class Tried:
    """The content of `tries.json`: the students that lost too much, the first one first."""

    students: tuple[Try, ...]


def harm_to_try(tries: Sequence[Try], max_drop: float, alone: tuple[float, float]) -> float:
    """Return the total harm with which a student is predicted to keep `max_drop`.

    Args:
        tries: The students that were tried.
        max_drop: The points that the student may lose.
        alone: The points that all candidates together lose alone, and their total harm.

    Returns:
        The harm; after a try, less than the last one's.
    """
    if not tries:
        lost, harm = alone
        return float("inf") if lost <= 0 else _AIM * max_drop / _LASTING * harm / lost
    last = tries[-1]
    aim = max(_LEAST_AIM * max_drop, max_drop - (last.most - last.least) / 2)
    low, high = _STEP
    return last.harm * (min(max(aim / last.lost, low), high) if last.lost > 0 else high)


def total_harm(names: Mapping[str, str | None], harms: Mapping[str, float]) -> float:
    """Add up the harm of the candidates of a choice."""
    return sum(harms[name] for name in names.values() if name is not None)


def cheapest_share(
    target: TargetConfig,
    task: DistillationTask,
    plan: Candidates,
    harms: Mapping[str, float],
    selector: Selector,
    most_harm: float,
) -> float:
    """Return the least share of the MACs within which a choice has at most so much harm.

    Args:
        target: The target.
        task: Teacher and chain.
        plan: All candidates with their costs.
        harms: The candidates that may be chosen, and the harm that each does alone.
        selector: What selects the least harmful candidates within a share.
        most_harm: The limit of their total harm.

    Returns:
        The share, in hundredths; 1 always does, with the teacher itself.

    Raises:
        PluginError: The selector is broken.
    """
    low, high = 0, _PARTS
    while high - low > 1:
        middle = (low + high) // 2
        within = replace(target, macs=middle / _PARTS)
        picked = pick_candidates(within, task, plan, harms, selector)
        if picked.is_possible and total_harm(picked.names, harms) <= most_harm:
            high = middle
        else:
            low = middle
    return high / _PARTS
