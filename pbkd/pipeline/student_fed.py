"""The student-fed phase: accepted replacements learn on the student's own activations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, EpochDone
from pbkd.errors import RunFolderError
from pbkd.models.replacement import read_replacement
from pbkd.pipeline.distill_blocks import distill_student_fed
from pbkd.pipeline.select import Selection
from pbkd.runs.events import read_events

if TYPE_CHECKING:
    from collections.abc import Collection

    from pbkd.pipeline.context import RunContext


__all__ = ["train_student_fed"]


def train_student_fed(ctx: RunContext, kept: Selection, epochs: int) -> Selection:
    """Train the accepted replacements on the student's activations, if there are any.

    Args:
        ctx: The run.
        kept: The accepted replacements, which get their new weights in place.
        epochs: Number of epochs; 0 to skip the phase.

    Returns:
        The selection with the losses of this phase. Replacements that fail keep their weights.

    Raises:
        WorkerError: If the launcher fails, or leaves candidates untrained.
    """
    with ctx.clock.phase("student-fed"):
        if not epochs or not kept.accepted:
            return kept
        _check_selection(ctx, kept.accepted)
        accepted = {name: kept.blocks[name] for name in kept.accepted}
        events = distill_student_fed(ctx, accepted, epochs)
        blocks, notes = dict(kept.blocks), []
        for name, event in events.items():
            if event.failure:
                notes.append(
                    f"Block '{name}' keeps its teacher-fed weights: in the student-fed phase"
                    f" {event.failure}."
                )
                continue
            replacement = read_replacement(ctx.folder / "student-fed", kept.accepted[name], name)
            replacement.to(ctx.task.device)
            blocks[name] = replace(blocks[name], student_fed_losses=tuple(event.losses))
    return Selection(blocks, kept.accepted, (*kept.notes, *notes))


def _check_selection(ctx: RunContext, accepted: Collection[str]) -> None:
    """Check that a resumed run accepts what it trained before: each depends on the others.

    Raises:
        RunFolderError: It accepts others, because its scores were measured or chosen again.
    """
    trained = {
        event.block
        for event in read_events(ctx.folder)
        if isinstance(event, (BlockTrained, EpochDone)) and event.phase == "student-fed"
    }
    if others := sorted(trained.difference(accepted)):
        raise RunFolderError(
            f"the run in '{ctx.folder}' trained {', '.join(others)} student-fed, which it accepts"
            " no more, since scores.json or choice.json was made again: restore them, or run again."
        )
