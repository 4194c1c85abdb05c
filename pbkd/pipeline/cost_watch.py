"""Planned costs watched while the teacher-fed phase runs, and a new split where they were wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pbkd.core.events import BlockTrained, CostsChecked, EpochDone, StepsTimed
from pbkd.errors import ScheduleError
from pbkd.pipeline.plan import cost_table
from pbkd.pipeline.plan_workers import START_SECONDS
from pbkd.planning.cost_check import TOLERANCE, check_costs
from pbkd.planning.cost_model import makespan
from pbkd.planning.new_split import split_rest
from pbkd.report.numbers import duration
from pbkd.runs.plan_files import plan_event, write_plan
from pbkd.runs.split_request import request_split, withdraw_split

if TYPE_CHECKING:
    from pbkd.core.events import Event
    from pbkd.core.schedule import Schedule
    from pbkd.pipeline.context import RunContext
    from pbkd.planning.cost_check import CostCheck
    from pbkd.planning.new_split import NewSplit
    from pbkd.planning.plan import Plan
    from pbkd.runs.assignment import Assignment


__all__ = ["CostWatch", "cost_notes"]


@dataclass
class CostWatch:
    """Compares the first steps of each worker with the plan, and has the rest split anew.

    Attributes:
        ctx: The run.
        plan: The plan; after a new split, the corrected one.
        epochs: Epochs of the phase.
    """

    ctx: RunContext
    plan: Plan
    epochs: int
    _timed: dict[int, StepsTimed] = field(default_factory=dict)
    _done: dict[str, int] = field(default_factory=dict)
    _next: Plan | None = None
    _is_checked: bool = False

    def see(self, event: Event) -> None:
        """Take note of an event; once all workers have been timed, compare and decide."""
        if isinstance(event, EpochDone) and event.phase == "teacher-fed":
            self._done[event.block] = event.epoch
        elif isinstance(event, BlockTrained) and event.phase == "teacher-fed":
            self._done[event.block] = self.epochs
        elif isinstance(event, StepsTimed) and event.phase == "teacher-fed":
            self._timed[event.worker] = event
            if not self._is_checked and _timed_ranks(self.plan.schedule) <= self._timed.keys():
                self._is_checked = True
                self._check()

    def next_assignment(self, assignment: Assignment) -> Assignment | None:
        """Return the assignment of the rest, after the workers have ended.

        Returns:
            None if the phase was not to be split anew.
        """
        withdraw_split(self.ctx.folder)
        if self._next is None:
            return None
        self.plan, self._next, self._is_checked = self._next, None, False
        self._timed.clear()
        planned = replace(self.ctx.planned, plan=self.plan)
        table = cost_table(planned)
        write_plan(self.ctx.folder, self.plan, table)
        self.ctx.log.emit(plan_event(self.ctx.folder, planned.epochs, self.plan, table, {}))
        return replace(
            assignment,
            schedule=self.plan.schedule,
            workers=self.plan.workers,
            cache=self.plan.cache,
            part=assignment.part + 1,
        )

    def _check(self) -> None:
        check = check_costs(self.plan, [*self._timed.values()])
        if check is None:
            return
        split = self._worthwhile(check) if abs(check.off) > TOLERANCE else None
        text = _describe(check, split)
        if split is not None and split.new_seconds < split.old_seconds:
            self._next = _plan_of(check, split, text)
            request_split(self.ctx.folder)
        event = CostsChecked(
            phase="teacher-fed",
            block=check.worst,
            off=check.off,
            split_anew=self._next is not None,
            text=text,
        )
        self.ctx.log.emit(event)

    def _worthwhile(self, check: CostCheck) -> NewSplit | None:
        """Split what is left after the epoch that has begun."""
        left = {
            p.name: max(0, self.epochs - self._done.get(p.name, 0) - 1) for p in check.plan.trained
        }
        planned = self.ctx.planned
        restart_seconds = START_SECONDS + planned.build_seconds
        try:
            return split_rest(check.plan, planned.schedulers, left, restart_seconds)
        except ScheduleError:
            return None


def cost_notes(events: list[Event]) -> list[str]:
    """Return what came of comparing the planned costs with the first steps, as sentences."""
    return [event.text for event in events if isinstance(event, CostsChecked)]


def _timed_ranks(schedule: Schedule) -> set[int]:
    """Return the workers that time their steps: those with a job that they share with none."""
    if schedule.feed == "relay":
        return {stage.ranks[0] for stage in schedule.stages if len(stage.ranks) == 1}
    busy = {rank for rank, jobs in enumerate(schedule.assigned) if jobs}
    return busy or set(range(min(len(schedule.assigned), len(schedule.shared))))


def _plan_of(check: CostCheck, split: NewSplit, text: str) -> Plan:
    choice, plan = split.choice, check.plan
    costs = [p.cost for p in plan.trained if p.cost]
    return replace(
        plan,
        schedule=choice.schedule,
        scheduler=choice.scheduler,
        cache=plan.cache if choice.schedule.feed == "cache" else None,
        seconds=makespan(choice.schedule, costs, plan.workers, plan.workload),
        why=text.rstrip("."),
    )


def _describe(check: CostCheck, split: NewSplit | None) -> str:
    sign = "longer" if check.off > 0 else "shorter"
    milliseconds = (
        f"{1e3 * check.measured_seconds:.3g} instead of {1e3 * check.planned_seconds:.3g}"
    )
    text = (
        f"In its first steps, block '{check.worst}' took {100 * abs(check.off):.0f} % {sign} than"
        f" planned ({milliseconds} ms)"
    )
    if abs(check.off) <= TOLERANCE:
        return f"{text}, no other block differed by more."
    if split is None:
        return f"{text}; nothing was left to split anew."
    seconds = (
        f"{duration(split.new_seconds)} with the change, {duration(split.old_seconds)} without"
    )
    if split.new_seconds < split.old_seconds:
        return f"{text}; the blocks were split anew at the epoch's end, for the rest {seconds}."
    return f"{text}; the blocks were not split anew, for the rest {seconds}."
