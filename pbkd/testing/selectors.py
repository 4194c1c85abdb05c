"""Conformance tests of selectors."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from pbkd.planning.option_selection import select_options
from pbkd.protocols import BlockOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.protocols import Selector

    Options = Mapping[str, Sequence[BlockOption]]

__all__ = ["check_selector"]

_EXAMPLES = 12
_SHARES = (0.0, 0.4, 0.7, 1.0)  # of the way from the cheapest to the most expensive selection


def check_selector(selector: Selector) -> None:
    """Check that a selector's selections keep the limits, and are the same again.

    It is tested on random chains of up to four blocks with up to four options each, with limits on
    one and on two quantities, without limits, and with limits that no selection meets. Its answers
    are compared with all selections: it may find none only if there is none, or, unless it declares
    `exact = True`, if limits on two quantities are tight.

    Args:
        selector: The selector.

    Raises:
        AssertionError: It breaks the contract.
        PluginError: Its answer is none that pbkd can use.
    """
    generator = random.Random(0)
    for _ in range(_EXAMPLES):
        options = _draw_options(generator)
        _check(selector, options, {})
        for share in _SHARES:
            _check(selector, options, {"macs": _between(options, "macs", share)})
            both = {key: _between(options, key, share) for key in ("macs", "latency_ms")}
            _check(selector, options, both)
        _check(selector, options, {"macs": _between(options, "macs", 0.0) / 2})


def _check(selector: Selector, options: Options, limits: Mapping[str, float]) -> None:
    found = select_options(selector, options, limits)
    assert select_options(selector, options, limits) == found, (
        "select returns different selections for the same options and limits"
    )
    best = _least_harm(options, limits)
    if found is None:
        assert best is None or (len(limits) > 1 and not getattr(selector, "exact", False)), (
            f"select returns None, but a selection meets the limits {dict(limits)}"
        )
    elif getattr(selector, "exact", False) and best is not None:
        harm = sum(option.harm for option in found.values())
        assert harm <= best + 1e-9, "select does not find the least harm, but declares exact = True"


def _least_harm(options: Options, limits: Mapping[str, float]) -> float | None:
    """Return the least total harm of all selections that meet the limits."""
    fitting = (
        sum(option.harm for option in chosen)
        for chosen in itertools.product(*options.values())
        if all(sum(o.costs[key] for o in chosen) <= limit for key, limit in limits.items())
    )
    return min(fitting, default=None)


def _between(options: Options, key: str, share: float) -> float:
    """Return a limit between the least and the most that a selection needs."""
    least = sum(min(o.costs[key] for o in choices) for choices in options.values())
    most = sum(max(o.costs[key] for o in choices) for choices in options.values())
    return (1 - share) * least + share * most


def _draw_options(generator: random.Random) -> Options:
    """Draw options whose costs are whole numbers, so that their sums are exact."""

    def option(name: str | None) -> BlockOption:
        keys = ("macs", "parameters", "latency_ms")
        return BlockOption(
            name,
            0.0 if name is None else generator.uniform(-0.1, 1.0),
            {key: float(generator.randint(1, 100)) for key in keys},
        )

    return {
        f"block{block}": (
            *(option(f"block{block}@{index}") for index in range(generator.randint(0, 3))),
            option(None),
        )
        for block in range(generator.randint(1, 4))
    }
