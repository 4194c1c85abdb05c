"""Check of planned costs against the first steps of a run, and correction of what was wrong."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.core.blocks import candidate_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.events import StepsTimed
    from pbkd.core.schedule import Worker
    from pbkd.planning.plan import Plan, PlannedBlock


__all__ = ["TOLERANCE", "CostCheck", "check_costs"]

TOLERANCE = 0.1
"""The share by which planned costs may be off before blocks are split anew."""


@dataclass(frozen=True, kw_only=True)
class CostCheck:
    """Planned costs beside the costs of a run's first steps.

    Attributes:
        plan: The plan with corrected costs and speeds of workers; its schedule is the old one.
        worst: The candidate whose training step is off by most.
        planned_seconds: Planned seconds of its training step.
        measured_seconds: Measured seconds of it.
    """

    plan: Plan
    worst: str
    planned_seconds: float
    measured_seconds: float

    @property
    def off(self) -> float:
        """By which share the worst candidate's seconds exceed the planned ones."""
        return self.measured_seconds / self.planned_seconds - 1


def check_costs(plan: Plan, timed: Sequence[StepsTimed]) -> CostCheck | None:
    """Compare measured with planned seconds, and correct the plan.

    What all workers of one machine and kind of device have in common, beside the workers of
    others, is put down to the workers' speed, the rest to the blocks. Blocks and segments without
    a measurement are taken to be off as the others are.

    Args:
        plan: The plan.
        timed: The timed steps of the workers, each on whole batches.

    Returns:
        The comparison; None if no training step with a planned cost was timed.
    """
    planned = {p.name: p for p in plan.trained}
    ratios = {
        (event.worker, name): seconds * plan.workers[event.worker].speed / _cost(planned[name])
        for event in timed
        for name, seconds in event.training.items()
        if name in planned and _cost(planned[name]) > 0
    }
    if not ratios:
        return None
    factors = _worker_factors(plan.workers, ratios)
    by_block = {name: ratio / factors[rank] for (rank, name), ratio in ratios.items()}
    (rank, worst), ratio = max(ratios.items(), key=lambda item: abs(item[1] - 1))
    seconds = _cost(planned[worst]) / plan.workers[rank].speed
    return CostCheck(
        plan=_corrected(plan, timed, factors, by_block),
        worst=worst,
        planned_seconds=seconds,
        measured_seconds=seconds * ratio,
    )


def _cost(planned: PlannedBlock) -> float:
    return planned.cost.train_seconds if planned.cost else 0.0


def _worker_factors(
    workers: Sequence[Worker], ratios: Mapping[tuple[int, str], float]
) -> dict[int, float]:
    """Return by how much each worker is slower than planned: 1 where all are alike."""
    kinds = {worker.rank: (worker.node, worker.device.partition(":")[0]) for worker in workers}
    if len(set(kinds.values())) == 1:
        return dict.fromkeys(kinds, 1.0)
    medians = {
        kind: statistics.median(of_kind)
        for kind in set(kinds.values())
        if (of_kind := [ratio for (rank, _), ratio in ratios.items() if kinds[rank] == kind])
    }
    usual = statistics.median(medians.values())
    return {rank: medians.get(kind, usual) for rank, kind in kinds.items()}


def _corrected(
    plan: Plan,
    timed: Sequence[StepsTimed],
    factors: Mapping[int, float],
    by_block: Mapping[str, float],
) -> Plan:
    segments = _segment_seconds(plan, timed, factors)
    usual = statistics.median(by_block.values())
    prefixes, total = {}, 0.0
    for name, seconds in segments.items():
        prefixes[name] = total
        total += seconds

    def corrected(planned: PlannedBlock) -> PlannedBlock:
        if planned.cost is None:
            return planned
        block, _ = candidate_of(planned.name)
        ratio = by_block.get(planned.name, usual)
        cost: BlockCost = replace(
            planned.cost,
            prefix_seconds=prefixes[block],
            teacher_seconds=segments[block],
            train_seconds=planned.cost.train_seconds * ratio,
            overhead_seconds=planned.cost.overhead_seconds * ratio,
        )
        return replace(planned, cost=cost)

    return replace(
        plan,
        blocks=tuple(map(corrected, plan.blocks)),
        workers=tuple(replace(w, speed=w.speed / factors[w.rank]) for w in plan.workers),
        segment_seconds=segments,
    )


def _segment_seconds(
    plan: Plan, timed: Sequence[StepsTimed], factors: Mapping[int, float]
) -> dict[str, float]:
    """Return the seconds of the teacher's segments at speed 1, measured where they were."""
    found: dict[str, list[float]] = {}
    for event in timed:
        scale = plan.workers[event.worker].speed / factors[event.worker]
        for name, seconds in event.teacher.items():
            if name in plan.segment_seconds:
                found.setdefault(name, []).append(seconds * scale)
    measured = {name: statistics.mean(seconds) for name, seconds in found.items()}
    known = sum(plan.segment_seconds[name] for name in measured)
    usual = sum(measured.values()) / known if known else 1.0
    return {
        name: measured.get(name, seconds * usual) for name, seconds in plan.segment_seconds.items()
    }
