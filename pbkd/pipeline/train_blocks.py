"""The teacher-fed phase: every candidate is trained, and observers hear of each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, Note
from pbkd.pipeline.block_results import block_result
from pbkd.pipeline.distill_blocks import distill_teacher_fed
from pbkd.plugin.observers import observe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.core.events import Event
    from pbkd.core.results import BlockResult
    from pbkd.pipeline.context import RunContext


__all__ = ["TrainedBlocks", "train_blocks"]


@dataclass(frozen=True)
class TrainedBlocks:
    """What the teacher-fed phase gives.

    Attributes:
        results: The result of each candidate, by its name.
        notes: Failures of observer plugins.
    """

    results: Mapping[str, BlockResult]
    notes: tuple[str, ...]


def train_blocks(ctx: RunContext) -> TrainedBlocks:
    """Train every candidate on the teacher's activations.

    Args:
        ctx: The run.

    Returns:
        Results of all candidates, and failures of observers.

    Raises:
        WorkerError: If the launcher fails, or leaves candidates untrained.
    """
    planned = {p.name: p for p in ctx.plan.trained}
    faults: list[str] = []

    def forward(event: Event) -> None:
        if isinstance(event, BlockTrained) and (not event.failure or event.phase == "retry"):
            result = block_result(planned[event.block], event)
            for fault in observe(ctx.registry, "block_finished", result):
                if fault not in faults:
                    faults.append(fault)
                    ctx.log.emit(Note(text=fault))
        ctx.log.forward(event)

    with ctx.clock.phase("teacher-fed"):
        events = distill_teacher_fed(ctx, forward)
    results = {name: block_result(planned[name], event) for name, event in events.items()}
    return TrainedBlocks(results, tuple(faults))
