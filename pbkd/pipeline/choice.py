"""The choice of the student's candidates under a target, with the latency of whole students."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pbkd.models.engines import in_engine
from pbkd.models.latency import latencies
from pbkd.models.student import assemble
from pbkd.planning.budget import pick_candidates
from pbkd.planning.limits import TORCH, forward_seconds, latency_limit, limits_latency, timed_images
from pbkd.planning.plan import Candidates, WholeLatency

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn

    from pbkd.config.schema import TargetConfig
    from pbkd.planning.plan import PlannedBlock
    from pbkd.protocols import Engine, Selector
    from pbkd.training.task import DistillationTask


__all__ = ["Choice", "ChoiceTools", "choose", "time_candidates", "timed_blocks"]

C = TypeVar("C", bound=Candidates)

_MARGIN = 0.97  # of a latency limit: two measurements of a network differ
_MOST_TRIES = 5


class ChoiceTools(NamedTuple):
    """What a choice is made with.

    Attributes:
        selector: Selects the candidates within limits.
        engine: Executes the networks whose latency is limited.
    """

    selector: Selector
    engine: Engine


@dataclass(frozen=True)
class Choice:
    """The candidates of a student.

    Attributes:
        names: The candidate of each block, None for the teacher's segment.
        latency: The latency of whole networks as measured; None if the target limits none.
        is_possible: Whether the limits are kept.
    """

    names: dict[str, str | None]
    latency: WholeLatency | None
    is_possible: bool

    @property
    def candidates(self) -> tuple[str, ...]:
        """The candidates that enter the student."""
        return tuple(name for name in self.names.values() if name is not None)


def time_candidates(
    plan: C,
    task: DistillationTask,
    replacements: Mapping[str, nn.Module],
    target: TargetConfig,
) -> C:
    """Add the seconds of forward passes to candidates, if the target limits latency.

    Args:
        plan: The candidates, or a plan; nothing is measured again.
        task: The teacher's chain.
        replacements: The replacements by candidate, trained or not.
        target: The target.

    Returns:
        The same with the seconds of each candidate, of all other segments, and, as their sum, of
        the teacher.
    """
    if not limits_latency(target) or plan.latency is not None:
        return plan
    images = timed_images(task, target)
    seconds, others = forward_seconds(task, replacements, images)
    plan = replace(plan, blocks=timed_blocks(plan.blocks, seconds), other_seconds=others)
    return replace(plan, latency=_of_segments(plan))


def timed_blocks(
    blocks: Sequence[PlannedBlock], seconds: Mapping[str, tuple[float | None, float | None]]
) -> tuple[PlannedBlock, ...]:
    """Add to candidates, by name, the seconds of the teacher's segment and of the replacement."""
    return tuple(
        replace(p, seconds_before=seconds[p.name][0], seconds_after=seconds[p.name][1])
        if p.name in seconds
        else p
        for p in blocks
    )


def choose(
    target: TargetConfig,
    task: DistillationTask,
    plan: Candidates,
    replacements: Mapping[str, nn.Module],
    harms: Mapping[str, float],
    tools: ChoiceTools,
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
        tools: What selects, and where latency counts.

    Returns:
        The choice; the cheapest candidates if none keeps the limits.

    Raises:
        PbkdError: The selector is broken, or the engine cannot execute a network.
    """
    if not limits_latency(target):
        picked = pick_candidates(target, task, plan, harms, tools.selector)
        return Choice(picked.names, None, picked.is_possible)
    images = timed_images(task, target)
    teacher = in_engine(tools.engine, task.teacher.network, images)
    is_rough = tools.engine.name != TORCH and plan.latency == _of_segments(plan)
    if is_rough:  # the first choice rests on the ratios of segments in torch
        plan = _corrected(plan, teacher, images)
    for done in range(_MOST_TRIES):
        picked = pick_candidates(target, task, plan, harms, tools.selector)
        replaced = {name: replacements[name] for name in picked.names.values() if name}
        student = in_engine(tools.engine, assemble(task.chain, replaced), images)
        plan, is_fast = _measured(target, plan, picked.names, (teacher, student), images)
        if is_fast == picked.is_possible and (done or not is_rough):
            break
    return Choice(picked.names, plan.latency, is_fast and picked.is_possible)


def _of_segments(plan: Candidates) -> WholeLatency:
    """Return the latency of the teacher as the sum over its segments, as torch has timed them."""
    before = {p.block.name: p.seconds_before or 0.0 for p in plan.blocks}
    return WholeLatency((plan.other_seconds or 0.0) + sum(before.values()))


def _corrected(plan: C, teacher: Callable[[Tensor], Tensor], images: Tensor) -> C:
    """Correct the sum over segments by the ratio that the teacher has."""
    seconds = latencies({"teacher": teacher}, images)["teacher"].median_seconds
    factor = seconds / _of_segments(plan).teacher_seconds
    return replace(plan, latency=WholeLatency(seconds, factor))


def _measured(
    target: TargetConfig,
    plan: C,
    names: Mapping[str, str | None],
    pair: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]],
    images: Tensor,
) -> tuple[C, bool]:
    """Time a whole student beside the teacher; return the corrected plan, and if it is fast."""
    timed = latencies(dict(zip(("teacher", "student"), pair, strict=True)), images)
    teacher, student = (timed[name].median_seconds for name in ("teacher", "student"))
    latency = WholeLatency(teacher, student / _sum_of_segments(plan, names) / _MARGIN)
    return replace(plan, latency=latency), student <= latency_limit(target, teacher)


def _sum_of_segments(plan: Candidates, names: Mapping[str, str | None]) -> float:
    """Add up the seconds of the segments of a student."""
    before = {p.block.name: p.seconds_before or 0.0 for p in plan.trained}
    after = {p.name: p.seconds_after or 0.0 for p in plan.trained}
    parts = (after[name] if name else before[block] for block, name in names.items())
    return (plan.other_seconds or 0.0) + sum(parts)
