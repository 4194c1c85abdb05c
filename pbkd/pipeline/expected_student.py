"""The student that a run is expected to give, if each replacement is good enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pbkd.models.student import assemble
from pbkd.pipeline.choice import Choice, choose, time_candidates
from pbkd.pipeline.network_figures import measure_networks
from pbkd.pipeline.wishes import cost_wishes
from pbkd.planning.limits import is_limited, timed_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.pipeline.choice import ChoiceTools
    from pbkd.planning.plan import Plan
    from pbkd.protocols import Engine
    from pbkd.training.task import DistillationTask


__all__ = ["Expected", "expect_student"]


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
    if not is_limited(target):
        return Expected(tuple(p.name for p in plan.trained), plan, ())
    plan = time_candidates(plan, task, replacements, target)
    saved = {p.name: 1 - p.macs_after / p.macs_before for p in plan.trained}
    harms = {name: errors.get(name, share) for name, share in saved.items()}
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
