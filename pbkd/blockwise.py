"""The blockwise phases, seen from the host: assign, launch, gather what the workers tell."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pbkd.assignment import Assignment, write_assignment
from pbkd.journal import follow_events, read_events
from pbkd.options import chosen
from pbkd.plan import Job, Schedule, check_schedule
from pbkd.progress import finished_blocks
from pbkd.worker import work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from pbkd.journal import Event
    from pbkd.registry import Registry
    from pbkd.run import Prospect

__all__ = ["distil_student_fed", "distil_teacher_fed"]


def distil_teacher_fed(
    prospect: Prospect, registry: Registry, folder: Path, tell: Callable[[Event], None]
) -> dict[str, Event]:
    """Train every replacement alone, as planned; return each block's `block` event."""
    names = [planned.block.name for planned in prospect.plan.trained]
    plan = prospect.plan
    return _distil(prospect, registry, folder, "teacher-fed", names, plan.schedule, tell)


def distil_student_fed(
    prospect: Prospect,
    registry: Registry,
    folder: Path,
    accepted: Collection[str],
    tell: Callable[[Event], None],
) -> dict[str, Event]:
    """Train the accepted replacements on the student's own activations, in a relay.

    Each worker needs what the replacements before its own give, so no other feed will do.
    """
    costs = [
        planned.cost
        for planned in prospect.plan.trained
        if planned.cost is not None and planned.block.name in accepted
    ]
    names = [cost.name for cost in costs]
    workers = prospect.plan.workers
    if len(workers) == 1:
        schedule = Schedule(((Job(tuple(names)),),))
    else:
        schedule = chosen(registry, "scheduler", {"name": "pipeline"}).schedule(costs, workers)
        check_schedule(schedule, costs, len(workers))
    return _distil(prospect, registry, folder, "student-fed", names, schedule, tell)


def _distil(
    prospect: Prospect,
    registry: Registry,
    folder: Path,
    phase: str,
    names: Collection[str],
    schedule: Schedule,
    tell: Callable[[Event], None],
) -> dict[str, Event]:
    start = "initial" if phase == "teacher-fed" else "teacher-fed"
    blocks = {p.block.name: p.block for p in prospect.plan.trained if p.block.name in names}
    workers = prospect.plan.workers
    cache = prospect.plan.cache if schedule.feed == "cache" else None
    write_assignment(folder, Assignment(phase, start, workers, schedule, blocks, cache))
    told = _Told(phase, tell)
    for event in read_events(folder):  # of a run that is resumed
        if event["event"] == f"{phase} epoch":
            told.seen(event)
    for event in finished_blocks(folder, phase).values():
        told.seen(event)
    launcher = chosen(registry, "launcher", prospect.config.launcher)
    if not all(name in told.blocks for name in names):
        with follow_events(folder, told.seen):
            launcher.launch(work, folder, workers)
    shutil.rmtree(folder / "checkpoints" / phase, ignore_errors=True)
    return {name: told.blocks[name] for name in names}


class _Told:
    """Passes on a phase's events, each epoch and block once however often it was repeated."""

    def __init__(self, phase: str, tell: Callable[[Event], None]) -> None:
        self.blocks: dict[str, Event] = {}
        self._phase = phase
        self._tell = tell
        self._epochs: set[tuple[str, int]] = set()

    def seen(self, event: Event) -> None:
        kind = event["event"]
        if kind == "block" and event["phase"] == self._phase:
            if event["block"] in self.blocks:
                return
            self.blocks[event["block"]] = event
        elif kind == f"{self._phase} epoch":
            epoch = event["block"], event["epoch"]
            if epoch in self._epochs:
                return
            self._epochs.add(epoch)
        elif kind == "block" or kind.endswith(" epoch"):
            return
        self._tell(event)
