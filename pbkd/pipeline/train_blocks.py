"""The teacher-fed phase: every candidate is trained, and observers hear of each block."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained
from pbkd.pipeline.block_results import block_result
from pbkd.pipeline.distill_blocks import distill_teacher_fed

if TYPE_CHECKING:
    from pbkd.core.events import Event
    from pbkd.core.results import BlockResult
    from pbkd.pipeline.context import RunContext


__all__ = ["train_blocks"]


def train_blocks(ctx: RunContext) -> tuple[RunContext, dict[str, BlockResult]]:
    """Train every candidate on the teacher's activations.

    Args:
        ctx: The run.

    Returns:
        The run, whose plan is another one if its blocks were split anew, and the results of all
        candidates, by name.

    Raises:
        WorkerError: If the launcher fails, or leaves candidates untrained.
    """
    planned = {p.name: p for p in ctx.plan.trained}

    def forward(event: Event) -> None:
        ctx.log.forward(event)
        if isinstance(event, BlockTrained) and (not event.failure or event.phase == "retry"):
            ctx.observers.block_finished(block_result(planned[event.block], event))

    with ctx.clock.phase("teacher-fed"):
        plan, events = distill_teacher_fed(ctx, forward)
    ctx = replace(ctx, planned=replace(ctx.planned, plan=plan))
    return ctx, {name: block_result(planned[name], event) for name, event in events.items()}
