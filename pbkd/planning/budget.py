"""What a student may cost, and what each candidate would take of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pbkd.core.blocks import candidate_of
from pbkd.errors import ConfigError
from pbkd.models.metrics import latencies, macs, parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from pbkd.config.schema import BudgetConfig, RunConfig
    from pbkd.planning.plan import Plan, PlannedBlock
    from pbkd.training.task import DistillationTask


__all__ = [
    "Option",
    "cheapest",
    "check_budget",
    "check_candidates",
    "choose",
    "forward_seconds",
    "is_limited",
    "pick_candidates",
]

_LIMITS = ("macs", "parameters", "latency_ms")
_REPEATS = 10


def is_limited(budget: BudgetConfig) -> bool:
    """Say whether a budget limits anything."""
    return any(getattr(budget, key) is not None for key in _LIMITS)


def check_candidates(config: RunConfig) -> None:
    """Raise `ConfigError` for candidates without a budget to choose between them."""
    if config.candidates and not is_limited(config.budget):
        raise ConfigError(
            "'candidates' needs a budget to choose by: set budget.macs, budget.parameters or"
            " budget.latency_ms."
        )


def check_budget(config: RunConfig, task: DistillationTask, plan: Plan) -> None:
    """Raise `ConfigError` for a budget that nothing meets."""
    budget = config.budget
    if not is_limited(budget):
        return
    options = _options(plan, {planned.name: 0.0 for planned in plan.trained})
    limits = _limits(budget, task, plan)
    for key, limit in limits.items():
        least = sum(min(option.costs[key] for option in some) for some in options.values())
        if least > limit:
            given = getattr(budget, key)
            possible = given + (least - limit) / _unit(key, task)
            raise ConfigError(
                f"'budget.{key}' is {given:g}, but the cheapest student comes to {possible:.3g}:"
                " raise it, or give cheaper candidates."
            )
    if choose(options, limits) is None:
        raise ConfigError("the limits of 'budget' cannot be met together: raise one of them.")


def forward_seconds(
    config: RunConfig, task: DistillationTask, replacements: Mapping[str, nn.Module]
) -> tuple[dict[str, tuple[float, float]], float | None]:
    """Return what a forward pass takes, of each candidate and in all other segments together.

    For each candidate: the seconds of its block, and its own. Measured in turn on one batch, in
    full precision, and only where the budget limits latency.
    """
    if config.budget.latency_ms is None:
        return {}, None
    seconds: dict[str, tuple[float, float]] = {}
    others = 0.0
    x = task.images
    for block, segment in task.chain.named_children():
        names = [name for name in replacements if candidate_of(name)[0] == block]
        networks = {"": segment, **{name: replacements[name] for name in names}}
        timed = latencies(networks, x, _REPEATS)
        before = timed[""].median_seconds
        seconds |= {name: (before, timed[name].median_seconds) for name in names}
        others += 0.0 if names else before
        with torch.no_grad():
            x = segment(x)
    return seconds, others


def pick_candidates(
    budget: BudgetConfig, task: DistillationTask, plan: Plan, harms: Mapping[str, float]
) -> tuple[dict[str, str | None], str]:
    """Return the candidate that each block gets, None for the teacher's segment, and a note.

    `harms` has the candidates that may be chosen. Where these cannot meet the budget any more,
    each block gets its cheapest, and the note says so.
    """
    limits = _limits(budget, task, plan)
    options = _options(plan, harms)
    chosen = choose(options, limits)
    note = "An exact choice among {count} candidates for {blocks} blocks keeps the budget."
    if chosen is None:
        chosen = cheapest(options, limits)
        note = (
            "The {count} candidates that were accepted cannot keep the budget: each of {blocks}"
            " blocks got its cheapest."
        )
    picked = {block: option.name for block, option in chosen.items()}
    return picked, note.format(count=len(harms), blocks=len(options))


def _limits(budget: BudgetConfig, task: DistillationTask, plan: Plan) -> dict[str, float]:
    """Return what the blocks with candidates may take of each limited quantity."""
    blocks = {planned.block.name: planned for planned in plan.trained}.values()
    limits = {}
    for key in _LIMITS:
        given = getattr(budget, key)
        if given is None:
            continue
        if key == "latency_ms":
            limits[key] = given - 1000 * (plan.other_seconds or 0.0)
        else:
            teacher = _unit(key, task)
            limits[key] = (given - 1) * teacher + sum(_taken(p, after=False)[key] for p in blocks)
    return limits


def _unit(key: str, task: DistillationTask) -> float:
    """Return what a limit of 1 means: all that the teacher takes, or a millisecond."""
    if key == "latency_ms":
        return 1.0
    network = task.teacher.network
    return parameters(network) if key == "parameters" else macs(network, task.data.image_shape)


def _options(plan: Plan, harms: Mapping[str, float]) -> dict[str, list[Option]]:
    options: dict[str, list[Option]] = {}
    for p in plan.trained:
        own = options.setdefault(p.block.name, [Option(None, 0.0, _taken(p, after=False))])
        if p.name in harms:
            own.append(Option(p.name, harms[p.name], _taken(p, after=True)))
    return options


def _taken(p: PlannedBlock, *, after: bool) -> dict[str, float]:
    seconds = p.seconds_after if after else p.seconds_before
    return {
        "macs": p.macs_after if after else p.macs_before,
        "parameters": p.parameters_after if after else p.parameters_before,
        "latency_ms": 1000 * (seconds or 0.0),
    }


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
