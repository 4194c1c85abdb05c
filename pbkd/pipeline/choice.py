"""The choice of the student's candidates under a target, with the latency of whole students."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.models.latency import latencies
from pbkd.models.student import assemble
from pbkd.planning.budget import pick_candidates
from pbkd.planning.limits import forward_seconds, latency_limit, limits_latency, timed_images
from pbkd.planning.plan import WholeLatency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from pbkd.config.schema import TargetConfig
    from pbkd.planning.plan import Plan
    from pbkd.protocols import Selector
    from pbkd.training.task import DistillationTask


__all__ = ["Choice", "choose", "time_candidates"]

_MARGIN = 0.97  # of a latency limit: two measurements of a network differ
_MOST_TRIES = 5


@dataclass(frozen=True)
class Choice:
    """The candidates of a student.

    Attributes:
        names: The candidate of each block, None for the teacher's segment.
        plan: The plan, with the latency of whole networks as measured.
        is_possible: Whether the limits are kept.
    """

    names: dict[str, str | None]
    plan: Plan
    is_possible: bool

    @property
    def candidates(self) -> tuple[str, ...]:
        """The candidates that enter the student."""
        return tuple(name for name in self.names.values() if name is not None)


def time_candidates(
    plan: Plan,
    task: DistillationTask,
    replacements: Mapping[str, nn.Module],
    target: TargetConfig,
) -> Plan:
    """Add the seconds of forward passes to a plan, if the target limits latency.

    Args:
        plan: The plan.
        task: The teacher's chain.
        replacements: The replacements by candidate, trained or not.
        target: The target.

    Returns:
        The plan with the seconds of each candidate, of all other segments, and, as their sum, of
        the teacher.
    """
    if not limits_latency(target):
        return plan
    images = timed_images(task, target)
    seconds, others = forward_seconds(task, replacements, images)
    blocks = tuple(
        replace(p, seconds_before=seconds[p.name][0], seconds_after=seconds[p.name][1])
        if p.name in seconds
        else p
        for p in plan.blocks
    )
    before = {p.block.name: p.seconds_before or 0.0 for p in blocks}
    whole = WholeLatency(others + sum(before.values()))
    return replace(plan, blocks=blocks, other_seconds=others, latency=whole)


def choose(
    target: TargetConfig,
    task: DistillationTask,
    plan: Plan,
    replacements: Mapping[str, nn.Module],
    harms: Mapping[str, float],
    selector: Selector,
) -> Choice:
    """Select the candidates with the least total harm within the limits.

    The latency of a network is not the sum over its segments: the student as a whole is measured
    beside the teacher, the sum is corrected by the ratio, and the choice made again until both say
    that it is fast enough, or that even the cheapest is not.

    Args:
        target: The limits.
        task: Teacher and chain.
        plan: All candidates with their costs.
        replacements: The replacements by candidate; latency does not depend on their weights.
        harms: The candidates that may be chosen, and the harm that each does alone.
        selector: What selects.

    Returns:
        The choice; the cheapest candidates if none keeps the limits.

    Raises:
        PluginError: The selector is broken.
    """
    for _ in range(_MOST_TRIES):
        picked = pick_candidates(target, task, plan, harms, selector)
        if not limits_latency(target):
            return Choice(picked.names, plan, picked.is_possible)
        plan, is_fast = _measured(target, task, plan, replacements, picked.names)
        if is_fast == picked.is_possible:
            break
    return Choice(picked.names, plan, is_fast and picked.is_possible)


def _measured(
    target: TargetConfig,
    task: DistillationTask,
    plan: Plan,
    replacements: Mapping[str, nn.Module],
    names: Mapping[str, str | None],
) -> tuple[Plan, bool]:
    """Time a whole student beside the teacher; return the corrected plan, and if it is fast."""
    picked = {name: replacements[name] for name in names.values() if name}
    networks = {"teacher": task.teacher.network, "student": assemble(task.chain, picked)}
    timed = latencies(networks, timed_images(task, target))
    teacher, student = (timed[name].median_seconds for name in networks)
    latency = WholeLatency(teacher, student / _sum_of_segments(plan, names) / _MARGIN)
    return replace(plan, latency=latency), student <= latency_limit(target, teacher)


def _sum_of_segments(plan: Plan, names: Mapping[str, str | None]) -> float:
    """Add up the seconds of the segments of a student."""
    before = {p.block.name: p.seconds_before or 0.0 for p in plan.trained}
    after = {p.name: p.seconds_after or 0.0 for p in plan.trained}
    parts = (after[name] if name else before[block] for block, name in names.items())
    return (plan.other_seconds or 0.0) + sum(parts)
