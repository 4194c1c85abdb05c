"""Budgets of MACs, parameters and latency, and the candidates that meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pbkd.core.blocks import candidate_of
from pbkd.errors import ConfigError
from pbkd.models.latency import latencies
from pbkd.models.metrics import macs, parameters
from pbkd.planning.option_selection import cheapest_options, select_options
from pbkd.protocols import BlockOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.planning.plan import Plan, PlannedBlock
    from pbkd.protocols import Selector
    from pbkd.training.task import DistillationTask


__all__ = [
    "check_budget",
    "check_candidates",
    "forward_seconds",
    "is_limited",
    "pick_candidates",
]

_LIMITS = ("macs", "parameters", "latency_ms")


def is_limited(target: TargetConfig) -> bool:
    """Return whether a target limits the cost of the student."""
    return any(getattr(target, key) is not None for key in _LIMITS)


def check_candidates(candidates: Sequence[Any], target: TargetConfig) -> None:
    """Raise `ConfigError` if there are candidates but no limit by which to select them."""
    if candidates and not is_limited(target):
        raise ConfigError(
            "'candidates' needs a limit to choose by: set target.macs, target.parameters or"
            " target.latency_ms."
        )


def check_budget(
    target: TargetConfig, task: DistillationTask, plan: Plan, selector: Selector
) -> None:
    """Raise `ConfigError` if no selection of the planned candidates meets the budget."""
    if not is_limited(target):
        return
    options = _options(plan, {planned.name: 0.0 for planned in plan.trained})
    limits = _limits(target, task, plan)
    for key, limit in limits.items():
        least = sum(min(option.costs[key] for option in block) for block in options.values())
        if least > limit:
            wanted = getattr(target, key)
            possible = wanted + (least - limit) / _unit(key, task)
            raise ConfigError(
                f"'target.{key}' is {wanted:g}, but the cheapest student needs {possible:.3g}:"
                " raise it or add cheaper candidates."
            )
    if select_options(selector, options, limits) is None:
        raise ConfigError("no student meets all limits of 'target' at once: raise one of them.")


def forward_seconds(
    task: DistillationTask, replacements: Mapping[str, nn.Module]
) -> tuple[dict[str, tuple[float, float]], float]:
    """Measure the forward passes of candidates.

    Blocks and candidates run in turn on the task's first batch, in float32.

    Args:
        task: The teacher's chain and a batch of images.
        replacements: The replacement of each candidate, by candidate name.

    Returns:
        For each candidate, the seconds of the teacher's segment and of the replacement; and the
        seconds of all segments without candidates together.
    """
    seconds: dict[str, tuple[float, float]] = {}
    others = 0.0
    x = task.images
    for block, segment in task.chain.named_children():
        names = [name for name in replacements if candidate_of(name)[0] == block]
        networks = {"": segment, **{name: replacements[name] for name in names}}
        timed = latencies(networks, x)
        before = timed[""].median_seconds
        seconds |= {name: (before, timed[name].median_seconds) for name in names}
        others += 0.0 if names else before
        with torch.no_grad():
            x = segment(x)
    return seconds, others


def pick_candidates(
    target: TargetConfig,
    task: DistillationTask,
    plan: Plan,
    harms: Mapping[str, float],
    selector: Selector,
) -> tuple[dict[str, str | None], str]:
    """Select the candidates with the least total harm within the budget.

    If the accepted candidates cannot meet the budget, every block gets its cheapest option.

    Args:
        target: The limits.
        task: The teacher, to which `target.macs` and `target.parameters` are relative.
        plan: All candidates with their costs.
        harms: The accepted candidates, and the drop in score that each causes alone.
        selector: What selects.

    Returns:
        The selected candidate of each block, None for the teacher's segment; and a note for the
        report.

    Raises:
        PluginError: The selector is broken.
    """
    limits = _limits(target, task, plan)
    options = _options(plan, harms)
    selected = select_options(selector, options, limits)
    kind = (
        "An exact choice" if getattr(selector, "exact", False) else f"A choice by {selector.name}"
    )
    note = kind + " among {count} candidates for {blocks} blocks keeps the budget."
    if selected is None:
        selected = cheapest_options(options, limits)
        note = (
            "The {count} accepted candidates cannot meet the budget: each of {blocks} blocks got"
            " its cheapest."
        )
    picked = {block: option.name for block, option in selected.items()}
    return picked, note.format(count=len(harms), blocks=len(options))


def _limits(target: TargetConfig, task: DistillationTask, plan: Plan) -> dict[str, float]:
    """Return the limit of each quantity for the blocks with candidates together."""
    blocks = {planned.block.name: planned for planned in plan.trained}.values()
    limits = {}
    for key in _LIMITS:
        limit = getattr(target, key)
        if limit is None:
            continue
        if key == "latency_ms":
            limits[key] = limit - 1000 * (plan.other_seconds or 0.0)
        else:
            teacher = _unit(key, task)
            limits[key] = (limit - 1) * teacher + sum(_costs(p, after=False)[key] for p in blocks)
    return limits


def _unit(key: str, task: DistillationTask) -> float:
    """Return the quantity that a limit of 1 stands for: the whole teacher, or a millisecond."""
    if key == "latency_ms":
        return 1.0
    network = task.teacher.network
    return parameters(network) if key == "parameters" else macs(network, task.data.image_shape)


def _options(plan: Plan, harms: Mapping[str, float]) -> dict[str, list[BlockOption]]:
    options: dict[str, list[BlockOption]] = {}
    for p in plan.trained:
        block = options.setdefault(p.block.name, [BlockOption(None, 0.0, _costs(p, after=False))])
        if p.name in harms:
            block.append(BlockOption(p.name, harms[p.name], _costs(p, after=True)))
    return options


def _costs(p: PlannedBlock, *, after: bool) -> dict[str, float]:
    seconds = p.seconds_after if after else p.seconds_before
    return {
        "macs": p.macs_after if after else p.macs_before,
        "parameters": p.parameters_after if after else p.parameters_before,
        "latency_ms": 1000 * (seconds or 0.0),
    }
