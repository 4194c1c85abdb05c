"""Results of blocks, from their plan and training."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from pbkd.core.results import BlockResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbkd.core.events import BlockTrained
    from pbkd.planning.plan import PlannedBlock


__all__ = ["block_result", "failure_notes"]


def block_result(planned: PlannedBlock, training: BlockTrained | None = None) -> BlockResult:
    """Put the result of a candidate together.

    Args:
        planned: Its plan.
        training: Its event, if it was trained.

    Returns:
        The result, before selection, which decides if a trained candidate replaces its block.
    """
    failure = training.failure if training else None
    is_open = training is not None and failure is None
    return BlockResult(
        name=planned.name,
        input_shape=planned.block.input_shape,
        output_shape=planned.block.output_shape,
        parameters_before=planned.parameters_before,
        parameters_after=planned.parameters_after,
        macs_before=planned.macs_before,
        macs_after=planned.macs_after,
        replaced=None if is_open else False,
        reason=failure or planned.reason,
        worker=training.worker if training else None,
        job_seconds=training.job_seconds if training else None,
        teacher_fed_losses=tuple(filter(isfinite, training.losses)) if training else (),
        student_fed_losses=(),
        solo_drop=None,
        first_failure=training.first_failure if training else None,
        builder=dict(planned.builder),
    )


def failure_notes(blocks: Iterable[BlockResult]) -> list[str]:
    """Describe which blocks failed, and the outcome of their second training."""
    return [
        f"Block '{block.name}' was trained a second time, because {block.first_failure};"
        f" {_outcome(block)}."
        for block in blocks
        if block.first_failure
    ]


def _outcome(block: BlockResult) -> str:
    if block.solo_drop is not None:
        return "that succeeded"
    return f"again {block.reason}, so it keeps the teacher's segment"
