"""The student that a run is expected to give, if each replacement is good enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pbkd.models.student import assemble
from pbkd.pipeline.choice import Choice, choose, time_candidates
from pbkd.pipeline.network_figures import measure_networks
from pbkd.pipeline.wishes import cost_wishes
from pbkd.planning.budget import pick_candidates
from pbkd.planning.limits import is_limited, seeks_cheapest, timed_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.pipeline.choice import ChoiceTools
    from pbkd.planning.plan import Plan
    from pbkd.protocols import Engine
    from pbkd.training.task import DistillationTask


__all__ = ["Expected", "expect_student"]


_ASSUMED = 0.5  # of the MACs, where they follow from what the student loses


class Expected(NamedTuple):
    """The student that is expected of a plan.

    Attributes:
        candidates: The candidates that enter it.
        plan: The plan, with measured latencies if the target limits them.
        notes: What cannot be had of the target, a sentence each.
    """

    candidates: tuple[str, ...]
    plan: Plan
    notes: tuple[str, ...]


def expect_student(
    target: TargetConfig,
    task: DistillationTask,
    plan: Plan,
    replacements: Mapping[str, nn.Module],
    errors: Mapping[str, float],
    tools: ChoiceTools,
) -> Expected:
    """Choose candidates as if each were good enough.

    Within limits, that is the student of the least total error that keeps them. Where errors are
    unknown it is the largest student: a candidate's harm is the share of the MACs that it saves.
    Where the loss alone is limited, it is a student of half the MACs, or the cheapest.

    Args:
        target: What the student may cost.
        task: Teacher and chain.
        plan: All candidates.
        replacements: The untrained replacements, by candidate.
        errors: The errors that are expected of them, as far as they are known.
        tools: What selects, and where latency counts.

    Raises:
        PbkdError: The selector is broken, or the engine cannot execute a network.
    """
    saved = {p.name: 1 - p.macs_after / p.macs_before for p in plan.trained}
    harms = {name: errors.get(name, share) for name, share in saved.items()}
    if seeks_cheapest(target, plan):
        assumed = replace(target, macs=_ASSUMED)
        names = pick_candidates(assumed, task, plan, harms, tools.selector).names
        return Expected(tuple(name for name in names.values() if name), plan, ())
    if not is_limited(target):
        return Expected(tuple(p.name for p in plan.trained), plan, ())
    plan = time_candidates(plan, task, replacements, target)
    choice = choose(target, task, plan, replacements, harms, tools)
    notes = _shortfalls(target, task, replacements, choice, tools.engine)
    return Expected(choice.candidates, replace(plan, latency=choice.latency), notes)


def _shortfalls(
    target: TargetConfig,
    task: DistillationTask,
    replacements: Mapping[str, nn.Module],
    choice: Choice,
    engine: Engine,
) -> tuple[str, ...]:
    """Say which limits cannot be kept, and what the cheapest student costs."""
    if choice.is_possible:
        return ()
    picked = {name: replacements[name] for name in choice.candidates}
    student = assemble(task.chain, picked)
    networks = measure_networks(task, student, target, engine)
    wishes = cost_wishes(target, *networks, len(timed_images(task, target)))
    return tuple(
        f"No student of these candidates keeps {wish.key}={wish.wanted:g}: the nearest {wish.what}."
        for wish in wishes
        if not wish.is_met
    )
