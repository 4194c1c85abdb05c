"""Predictions of whole runs on growing numbers of workers, with the part that is not parallel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pbkd.core.workload import Workload
from pbkd.errors import ScheduleError
from pbkd.planning.phase_prediction import predict_phases, serial_phases
from pbkd.planning.prediction import fastest, predict_schedulers
from pbkd.planning.relay_schedule import relay_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbkd.core.schedule import Worker
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.phase_prediction import SecondsOf
    from pbkd.planning.prediction import Prediction
    from pbkd.planning.run_work import RunWork
    from pbkd.protocols import Scheduler


__all__ = ["PLANNING", "WholeRun", "whole_runs"]

PLANNING = "planning"


@dataclass(frozen=True, kw_only=True)
class WholeRun:
    """The predicted phases of a run on some workers.

    Attributes:
        workers: Number of workers.
        scheduler: The scheduler of the teacher-fed phase.
        phases: Seconds by phase, planning included.
        speedup: Over the run on the first of the workers alone.
        serial: Seconds by phase of what one worker does alone, planning included.
    """

    workers: int
    scheduler: str
    phases: Mapping[str, float]
    speedup: float
    serial: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Seconds of all phases."""
        return sum(self.phases.values())

    @property
    def seconds_alone(self) -> float:
        """Seconds of all phases on the first worker alone."""
        return self.seconds * self.speedup

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in the form of a JSON file."""
        return {
            "workers": self.workers,
            "scheduler": self.scheduler,
            "seconds": self.seconds,
            "phases": dict(self.phases),
            "speedup": self.speedup,
            "serial": dict(self.serial),
        }


def whole_runs(
    table: CostTable,
    rows: Sequence[Prediction],
    schedulers: Mapping[str, Callable[[], Scheduler]],
    seconds_on: Callable[[Sequence[Worker]], SecondsOf],
) -> list[WholeRun]:
    """Predict whole runs.

    Args:
        table: Costs per step, the workload, and the work of the run.
        rows: The schedules of teacher-fed phases, each on another number of workers.
        schedulers: A factory for each scheduler, by name.
        seconds_on: Returns what predicts the seconds of a schedule on some workers.

    Returns:
        A prediction for each of `rows`; none without the work of a run.

    Raises:
        ScheduleError: If the student-fed phase cannot be scheduled, or failures are so frequent
            that a phase would hardly ever end.
    """
    if table.run is None or not rows:
        return []
    run = partial(_phases, table, table.run, schedulers, seconds_on)
    phases = [run(row) for row in rows]
    alone = sum(run(_alone(table, rows[0], schedulers)).values())
    return [
        WholeRun(
            workers=len(row.workers),
            scheduler=row.scheduler,
            phases=seconds,
            speedup=alone / sum(seconds.values()),
            serial={PLANNING: seconds[PLANNING], **serial_phases(table.run, row.workers[0])},
        )
        for row, seconds in zip(rows, phases, strict=True)
    ]


def _alone(
    table: CostTable, row: Prediction, schedulers: Mapping[str, Callable[[], Scheduler]]
) -> Prediction:
    """Return the fastest schedule for the first worker alone."""
    first = row.workers[:1]
    return fastest(predict_schedulers(table.costs, first, table.workload, schedulers))[0]


def _phases(
    table: CostTable,
    work: RunWork,
    schedulers: Mapping[str, Callable[[], Scheduler]],
    seconds_on: Callable[[Sequence[Worker]], SecondsOf],
    row: Prediction,
) -> dict[str, float]:
    steps = Workload(work.student_fed_steps, work.student_fed_steps)
    relay = None
    if work.student_fed and work.student_fed_steps:
        if "pipeline" not in schedulers:
            raise ScheduleError("the student-fed phase needs the scheduler 'pipeline'.")
        relay = relay_schedule(schedulers["pipeline"], work.student_fed, row.workers, steps)
    teacher_fed = row.schedule, table.costs, table.workload
    phases = predict_phases(work, teacher_fed, relay, row.workers, seconds_on(row.workers))
    return {PLANNING: work.planning_seconds, **phases}
