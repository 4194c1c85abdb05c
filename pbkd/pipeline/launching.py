"""A phase on all workers: what its assignment says of candidates, its launch and its events."""

from __future__ import annotations

from shlex import quote
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from pbkd.core.events import BlockTrained, EpochDone
from pbkd.errors import PbkdError, WorkerError, is_out_of_memory
from pbkd.execution.worker import LaunchedWork, work
from pbkd.plugin.attribution import describe_failure
from pbkd.runs.assignment import write_assignment
from pbkd.runs.events import follow_events, read_events

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.core.events import Emit, Event
    from pbkd.core.schedule import Worker
    from pbkd.pipeline.context import RunContext
    from pbkd.planning.plan import Plan
    from pbkd.runs.assignment import Assignment


__all__ = ["PhaseEvents", "candidate_blocks", "candidate_builders", "launch_assignment"]


def candidate_blocks(plan: Plan, names: Collection[str]) -> dict[str, Block]:
    """Return the blocks of these candidates, by name."""
    return {p.block.name: p.block for p in plan.trained if p.name in names}


def candidate_builders(plan: Plan, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the builders of these candidates, with the options that they chose."""
    return {p.name: dict(p.builder) for p in plan.trained if p.name in names}


def launch_assignment(ctx: RunContext, assignment: Assignment, see: Emit) -> None:
    """Have the workers do what an assignment says.

    Args:
        ctx: The run, with its launcher.
        assignment: The assignment, which is written to the run folder.
        see: Gets the events of the workers.

    Raises:
        WorkerError: The launcher fails.
    """
    write_assignment(ctx.folder, assignment)
    with follow_events(ctx.folder, see, skip="host"):
        _launch(ctx, assignment.workers)


def _launch(ctx: RunContext, workers: Sequence[Worker]) -> None:
    launcher, folder = ctx.planned.launcher, ctx.folder
    try:
        launcher.launch(LaunchedWork(ctx.registry, ctx.task, ctx.planned.inputs), folder, workers)
    except (PbkdError, OSError):
        raise
    except Exception as error:
        frames = (frame for frame, _ in walk_tb(error.__traceback__))
        if is_out_of_memory(error) or any(frame.f_code is work.__code__ for frame in frames):
            raise
        raise WorkerError(
            f"{describe_failure('launcher', launcher, 'launch', error)}: go on with another one, by"
            f" `pbkd run --resume {quote(str(folder))} launcher=local`."
        ) from error


class PhaseEvents:
    """Passes a phase's events on, each epoch and block once, however often it was repeated.

    `blocks` has the final event of each candidate.
    """

    def __init__(self, phase: str, forward: Emit) -> None:
        """Pass the events of `phase` on to `forward`."""
        self.blocks: dict[str, BlockTrained] = {}
        self._phase = phase
        self._forward = forward
        self._epochs: set[tuple[str, int]] = set()

    @classmethod
    def of_run(cls, folder: Path, phase: str, forward: Emit, begun: int = 0) -> PhaseEvents:
        """Pass on the epochs after `begun` that a run, if it is resumed, has behind it."""
        events = cls(phase, forward)
        for event in read_events(folder):
            if isinstance(event, EpochDone) and event.epoch > begun:
                events.see(event)
        return events

    def see(self, event: Event) -> None:
        """Pass an event on, unless it is of another phase or a repetition."""
        if isinstance(event, (BlockTrained, EpochDone)) and not self._is_new(event):
            return
        self._forward(event)

    def _is_new(self, event: BlockTrained | EpochDone) -> bool:
        if event.phase != self._phase:
            return False
        if isinstance(event, EpochDone):
            epoch = event.block, event.epoch
            known = epoch in self._epochs
            self._epochs.add(epoch)
        else:
            known = event.block in self.blocks
            self.blocks.setdefault(event.block, event)
        return not known
