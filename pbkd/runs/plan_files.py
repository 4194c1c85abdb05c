"""The plan of a run, as files in its folder and as an event."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pbkd.core.events import PlanMade, PlannedJob, PlannedWorker
from pbkd.core.files import write_json
from pbkd.core.records import read_record
from pbkd.core.schedule import Worker, check_schedule
from pbkd.errors import RunFolderError, ScheduleError
from pbkd.planning.cost_files import read_costs, write_costs
from pbkd.planning.cost_model import makespan
from pbkd.planning.timeline import job_lanes
from pbkd.runs.assignment import ScheduleRecord, schedule_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pbkd.core.schedule import Schedule
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.plan import Plan


__all__ = ["RecordedPlan", "plan_event", "read_plan", "write_plan"]

_COSTS, _PLAN = "costs.json", "plan.json"


@dataclass(frozen=True)
class RecordedPlan:
    """The plan of a teacher-fed phase.

    Attributes:
        table: The costs of the blocks.
        workers: The workers, by rank.
        schedule: Their jobs.
        scheduler: The scheduler's name.
        why: Why it was chosen.
    """

    table: CostTable
    workers: tuple[Worker, ...]
    schedule: Schedule
    scheduler: str
    why: str

    @property
    def seconds(self) -> float:
        """Predicted makespan, in seconds."""
        return makespan(self.schedule, self.table.costs, self.workers, self.table.workload)


def write_plan(folder: Path, plan: Plan, table: CostTable) -> None:
    """Write `plan.json` and `costs.json`; `pbkd plan --costs` reads the latter too."""
    write_costs(folder / _COSTS, table)
    head = {"scheduler": plan.scheduler, "why": plan.why}
    workers = [asdict(worker) for worker in plan.workers]
    write_json(folder / _PLAN, {**head, "workers": workers, **schedule_data(plan.schedule)})


def plan_event(
    folder: Path,
    epochs: Mapping[str, Sequence[int]],
    plan: Plan,
    table: CostTable,
    phases: Mapping[str, float],
) -> PlanMade:
    """Return the event that announces a plan.

    Args:
        folder: The run folder.
        epochs: The epochs of each phase, of each of its students.
        plan: The plan.
        table: The costs that it was made from.
        phases: The predicted seconds of all phases.
    """
    blocks = {planned.block.name for planned in plan.trained}
    trainings = {"teacher-fed": len(plan.trained), "student-fed": len(blocks), "fine-tuning": 1}
    lanes = job_lanes(plan.schedule, table.costs, plan.workers, table.workload)
    return PlanMade(
        folder=str(folder),
        scheduler=plan.scheduler,
        feed=plan.schedule.feed,
        seconds=plan.seconds,
        workers=tuple(PlannedWorker(rank=w.rank, device=w.device) for w in plan.workers),
        blocks=tuple(planned.name for planned in plan.trained),
        epochs={phase: max(counts) for phase, counts in epochs.items()},
        totals={phase: trainings[phase] * sum(counts) for phase, counts in epochs.items()},
        lanes=tuple(
            tuple(PlannedJob(blocks=job.blocks, seconds=seconds) for job, seconds in lane)
            for lane in lanes
        ),
        phases=phases,
        plan=plan,
    )


def read_plan(folder: Path) -> RecordedPlan:
    """Read the plan of a run folder, which may be untrusted.

    Raises:
        RunFolderError: `plan.json` is missing or damaged.
        ConfigError: `costs.json` is missing or damaged.
    """
    path = folder / _PLAN
    record: _Record = read_record(path, _Record, "a plan")
    table = read_costs(folder / _COSTS)
    try:
        for worker in record.workers:
            _check_worker(worker)
        check_schedule(record.schedule, table.costs, len(record.workers))
    except (ValueError, ScheduleError) as error:
        raise RunFolderError(f"'{path}' is not a plan of this version of pbkd.") from error
    return RecordedPlan(table, record.workers, record.schedule, record.scheduler, record.why)


@dataclass(frozen=True, kw_only=True)
class _Record(ScheduleRecord):
    """The content of `plan.json`."""

    scheduler: str
    why: str


def _check_worker(worker: Worker) -> None:
    """Check speed and links; raises `ValueError`."""
    links = (worker.bandwidth, 1 + worker.latency, worker.node_bandwidth, 1 + worker.node_latency)
    sizes = (worker.speed, *links)
    if not all(0 < size < math.inf for size in sizes):
        raise ValueError("a worker's speed or link is out of range")
