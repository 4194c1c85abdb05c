"""The choice of one candidate per block, within the limits of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pbkd.errors import ConfigError
from pbkd.planning.limits import block_limits, block_options, is_limited
from pbkd.planning.option_selection import cheapest_options, select_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.config.schema import TargetConfig
    from pbkd.planning.plan import Candidates
    from pbkd.protocols import Selector
    from pbkd.training.task import DistillationTask


__all__ = ["Picked", "check_candidates", "pick_candidates"]


def check_candidates(candidates: Sequence[Any], target: TargetConfig) -> None:
    """Raise `ConfigError` if there are candidates but no limit by which to select them."""
    if candidates and not is_limited(target) and target.max_drop is None:
        raise ConfigError(
            "'candidates' needs a limit to choose by: set target.speedup, target.macs or another"
            " limit of target."
        )


class Picked(NamedTuple):
    """A choice.

    Attributes:
        names: The candidate of each block, None for the teacher's segment.
        is_possible: Whether it is within the limits.
    """

    names: dict[str, str | None]
    is_possible: bool


def pick_candidates(
    target: TargetConfig,
    task: DistillationTask,
    plan: Candidates,
    harms: Mapping[str, float],
    selector: Selector,
) -> Picked:
    """Select the candidates with the least total harm within the limits.

    If the candidates cannot keep the limits, every block gets its cheapest option.

    Args:
        target: The limits.
        task: The teacher, to which `target.macs` and `target.parameters` are relative.
        plan: All candidates with their costs.
        harms: The candidates that may be chosen, and the harm that each does alone.
        selector: What selects.

    Returns:
        The choice.

    Raises:
        PluginError: The selector is broken.
    """
    limits = block_limits(target, task, plan)
    options = block_options(plan, harms)
    selected = select_options(selector, options, limits)
    picked = cheapest_options(options, limits) if selected is None else selected
    names = {block: option.name for block, option in picked.items()}
    return Picked(names, selected is not None)
