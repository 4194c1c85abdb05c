"""The phases that are long enough for several workers to share them, by a count of MACs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from pbkd.planning.plan import Plan
    from pbkd.planning.run_extent import RunExtent


__all__ = ["long_phases"]

_FEWEST_MACS = 2e11  # of a phase that is shared, about ten seconds of a core


def long_phases(plan: Plan, student: Collection[str], extent: RunExtent) -> frozenset[str]:
    """Return the phases on the whole student, or on all candidates, that are worth sharing.

    Sums over several workers round differently: the weights of short runs do not depend on whether
    the machine was busy while their costs were measured.

    Args:
        plan: The plan, with the MACs of blocks and candidates.
        student: The candidates that are expected to enter the student.
        extent: How much the run has to do.
    """
    teacher = sum({each.block.name: each.macs_before for each in plan.trained}.values())
    saved = sum(p.macs_before - p.macs_after for p in plan.trained if p.name in student)
    recalibrated, tuned = extent.recalibration_batches > 0, extent.epochs > 0
    labels = 0 if extent.labelled else teacher
    rest = teacher if extent.sample_images < extent.test_images else 0
    macs = {
        "scoring": extent.validation_images * (_solo_macs(plan) + teacher + labels),
        "recalibration": extent.validation_images * (1 + recalibrated) * (teacher - saved),
        "fine-tuning": extent.epochs * extent.training_images * 4 * teacher,
        "evaluation": extent.test_images * ((1 + recalibrated + tuned) * (teacher - saved) + rest),
    }
    return frozenset(phase for phase, count in macs.items() if count > _FEWEST_MACS)


def _solo_macs(plan: Plan) -> int:
    """Count the MACs of one image through each candidate, and from it to the end."""
    before = {p.block.position: p.macs_before for p in plan.trained}
    return sum(
        p.macs_after + sum(macs for at, macs in before.items() if at > p.block.position)
        for p in plan.trained
    )
