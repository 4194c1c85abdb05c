"""Selection of one option per block: the call of a selector, and the check of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pbkd.errors import PLUGIN_FAILURES, PbkdError, PluginError
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.protocols import BlockOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.protocols import Selector


__all__ = ["cheapest_options", "select_options", "with_neighbours"]

_SLACK = 2e-6  # relative to a limit: solvers round
_STEP = 1.25  # between the costs of a candidate and its neighbours


def select_options(
    selector: Selector,
    options: Mapping[str, Sequence[BlockOption]],
    limits: Mapping[str, float],
) -> dict[str, BlockOption] | None:
    """Ask a selector for one option per block, and check its answer.

    Args:
        selector: The selector.
        options: The options of each block.
        limits: The limit of each quantity, for all blocks together.

    Returns:
        The selected option of each block; None if no selection meets all limits.

    Raises:
        PluginError: The selector failed, or its answer is wrong.
    """
    if not options:
        return {}
    asked = {
        block: tuple(BlockOption(each.name, each.harm, dict(each.costs)) for each in choices)
        for block, choices in options.items()
    }
    try:
        answer = selector.select(asked, dict(limits))
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        failure = describe_failure("selector", selector, "select", error)
        raise PluginError(f"{failure}: mend it, or omit target.selector.") from error
    fault = _fault(answer, options, limits)
    if fault:
        raise PluginError(
            f"{describe_strategy('selector', selector)} {fault}: mend its select, or omit"
            " target.selector."
        )
    return None if answer is None else {block: answer[block] for block in options}


def _fault(
    answer: Any, options: Mapping[str, Sequence[BlockOption]], limits: Mapping[str, float]
) -> str | None:
    """Return what is wrong with a selector's answer; None if nothing is."""
    if answer is None:
        if _excess(cheapest_options(options, limits), limits, -_SLACK):
            return None
        return "returns None, but the cheapest options of all blocks meet the limits"
    if not isinstance(answer, Mapping):
        return f"returns {type(answer).__name__}, not a mapping from blocks to options"
    for block in (*options, *answer):
        if block not in answer:
            return f"selects nothing for the block '{block}'"
        if block not in options:
            return f"selects for '{block}', which is no block"
        if not any(answer[block] == option for option in options[block]):
            return f"selects for the block '{block}' what is none of its options"
    return _excess(answer, limits, _SLACK)


def _excess(
    selected: Mapping[str, BlockOption], limits: Mapping[str, float], slack: float
) -> str | None:
    for key, limit in limits.items():
        needed = sum(option.costs[key] for option in selected.values())
        if needed > limit + slack * (abs(limit) or 1.0):
            return f"exceeds the limit of {key}: its options need {needed:.6g} of {limit:.6g}"
    return None


def cheapest_options(
    options: Mapping[str, Sequence[BlockOption]], limits: Mapping[str, float]
) -> dict[str, BlockOption]:
    """Return the cheapest option of each block.

    Every quantity is measured relative to the block's most expensive option; an option's cost is
    its largest relative quantity.
    """
    return {
        block: min(choices, key=partial(_relative_cost, choices=choices, limits=limits))
        for block, choices in options.items()
    }


def with_neighbours(
    picked: str | None, options: Sequence[BlockOption], limits: Mapping[str, float]
) -> set[str]:
    """Return the names of a block's picked option, and of the next cheaper and dearer candidate.

    The next costs at least a quarter more or less, if there is such a one. Where there is none on
    one side, two of the other side are returned. Candidates that cost no
    less than the teacher's segment do not count, nor do those that another candidate outdoes in
    cost and harm.

    Args:
        picked: The name of the picked option; None for the teacher's segment.
        options: The options of the block, the teacher's segment among them.
        limits: The limited quantities, of which the largest is an option's cost.
    """
    cost = {each.name: _relative_cost(each, options, limits) for each in options}
    harm = {each.name: each.harm for each in options if each.name and cost[each.name] < cost[None]}
    front = [
        name
        for name in sorted(harm, key=cost.__getitem__)
        if not any(cost[other] <= cost[name] and harm[other] < harm[name] for other in harm)
    ]
    cheaper = _steps([name for name in reversed(front) if cost[name] < cost[picked]], cost, picked)
    dearer = _steps([name for name in front if cost[name] > cost[picked]], cost, picked)
    near = [*cheaper[:1], *dearer[:1]] if cheaper and dearer else [*cheaper[:2], *dearer[:2]]
    return {*near, *([picked] if picked in harm else [])}


def _steps(names: list[str], cost: Mapping[str | None, float], start: str | None) -> list[str]:
    """Return the names whose costs, from `start` on, are a step apart; the last if none is."""
    found, last = [], cost[start]
    for name in names:
        if max(cost[name], last) >= _STEP * min(cost[name], last):
            found.append(name)
            last = cost[name]
    return found or names[-1:]


def _relative_cost(
    option: BlockOption, choices: Sequence[BlockOption], limits: Mapping[str, float]
) -> float:
    """Return an option's largest quantity, relative to the largest of `choices`."""
    largest = {key: max(other.costs[key] for other in choices) or 1.0 for key in limits}
    return max((option.costs[key] / largest[key] for key in limits), default=0.0)
