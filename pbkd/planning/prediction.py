"""Predictions of every scheduler's run from costs: seconds, speed-up, idle share, bytes moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.files import write_json
from pbkd.core.schedule import Job, Schedule
from pbkd.errors import PLUGIN_FAILURES, ConfigError, PbkdError, ScheduleError, one_line
from pbkd.planning.cost_files import workload_data
from pbkd.planning.cost_model import makespan, worker_seconds
from pbkd.planning.scheduler_call import ask_scheduler
from pbkd.plugin.attribution import describe_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.core.workload import Workload
    from pbkd.planning.cost_files import CostTable
    from pbkd.protocols import Scheduler


__all__ = [
    "Prediction",
    "Unpredicted",
    "fastest",
    "link_bytes",
    "predict_schedulers",
    "serial_seconds",
    "write_predictions",
]

_TIE = 1 + 1e-9  # relative tolerance within which predictions are equal


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A scheduler's schedule for some workers, and its predicted figures.

    Attributes:
        scheduler: Name of the scheduler.
        workers: The workers that it was asked to schedule.
        schedule: Its answer.
        seconds: The makespan.
        speedup: Over the paper's procedure on the first worker alone (`serial_seconds`).
        idle: Fraction of the workers' time until the makespan in which they are idle.
        step_bytes: Bytes moved between workers per step.
        total_bytes: Bytes moved between workers in all steps.
    """

    scheduler: str
    workers: tuple[Worker, ...]
    schedule: Schedule
    seconds: float
    speedup: float
    idle: float
    step_bytes: int
    total_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in the form of a JSON file."""
        return {
            "workers": len(self.workers),
            "scheduler": self.scheduler,
            "feed": self.schedule.feed,
            "seconds": self.seconds,
            "speedup": self.speedup,
            "idle_share": self.idle,
            "bytes_per_step": self.step_bytes,
            "bytes": self.total_bytes,
            "jobs": [[list(job.blocks) for job in jobs] for jobs in self.schedule.assigned],
            "shared_jobs": [list(job.blocks) for job in self.schedule.shared],
            "reason": None,
        }


@dataclass(frozen=True)
class Unpredicted:
    """A scheduler that returned no valid schedule for some workers, and the reason."""

    scheduler: str
    workers: tuple[Worker, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of `Prediction.to_dict` that have a value here."""
        figures = {"seconds": None, "reason": self.reason}
        return {"workers": len(self.workers), "scheduler": self.scheduler, **figures}


def predict_schedulers(
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload,
    schedulers: Mapping[str, Callable[[], Scheduler]],
) -> list[Prediction | Unpredicted]:
    """Ask every scheduler for a schedule and predict its figures.

    Args:
        costs: Costs per step, in the order of the chain.
        workers: The workers to schedule, ordered by rank.
        workload: The number of training steps.
        schedulers: A factory for each scheduler, by name.

    Returns:
        A row per scheduler. One that cannot be built, raises, or returns an invalid schedule gets
        an `Unpredicted` row and does not affect the others.

    Raises:
        ConfigError: If all costs are zero.
    """
    serial = serial_seconds(costs, workers[0], workload)
    rows: list[Prediction | Unpredicted] = []
    for name, make in schedulers.items():
        try:
            schedule = _asked(make(), costs, workers, workload)
            _check_cache(schedule, workload)
            rows.append(_predicted(name, schedule, costs, workers, workload, serial))
        except PLUGIN_FAILURES as error:
            rows.append(Unpredicted(name, tuple(workers), one_line(error)))
    return rows


def _asked(
    scheduler: Scheduler, costs: Sequence[BlockCost], workers: Sequence[Worker], workload: Workload
) -> Schedule:
    """Ask a scheduler; an error that is no sentence of its own becomes one."""
    try:
        return ask_scheduler(scheduler, costs, workers, workload)
    except PbkdError:
        raise
    except PLUGIN_FAILURES as error:
        failure = describe_failure("scheduler", scheduler, "schedule", error)
        raise ScheduleError(f"{failure}.") from error


def serial_seconds(costs: Sequence[BlockCost], worker: Worker, workload: Workload) -> float:
    """Return the seconds of the paper's procedure on one worker: one job per block, recomputed.

    Raises:
        ConfigError: If all costs are zero, so that no speed-up can be computed.
    """
    schedule = Schedule((tuple(Job((cost.name,)) for cost in costs),))
    seconds = makespan(schedule, costs, [worker], workload)
    if not seconds:
        raise ConfigError("the costs are all zero: measure them again.")
    return seconds


def fastest(rows: Sequence[Prediction | Unpredicted]) -> list[Prediction]:
    """Return the predictions with the least seconds, several if they tie."""
    predictions = [row for row in rows if isinstance(row, Prediction)]
    least = min((row.seconds for row in predictions), default=0.0)
    return [row for row in predictions if row.seconds <= least * _TIE]


def link_bytes(schedule: Schedule, costs: Sequence[BlockCost]) -> int:
    """Return the bytes that one step moves between workers.

    A relay sends over every cut the input of the next block. The n replicas of a stage all-reduce
    their gradients in a ring, which moves every gradient 2 (n - 1) times.
    """
    if schedule.feed != "relay":
        return 0
    by_name = {cost.name: cost for cost in costs}
    cuts = sum(by_name[stage.job.blocks[0]].input_bytes for stage in schedule.stages[1:])
    gradients = sum(
        2 * (len(stage.ranks) - 1) * by_name[name].parameter_bytes
        for stage in schedule.stages
        for name in stage.job.blocks
    )
    return cuts + gradients


def write_predictions(
    path: Path,
    table: CostTable,
    worker: Worker,
    rows: Sequence[Prediction | Unpredicted],
    runs: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the assumptions, every row, and the whole runs to a JSON file."""
    write_json(
        path,
        {
            "format": 1,
            "about": table.about,
            **workload_data(table.workload),
            "link_bytes_per_second": worker.bandwidth,
            "serial_seconds": serial_seconds(table.costs, worker, table.workload),
            "predictions": [row.to_dict() for row in rows],
            "whole_runs": list(runs),
        },
    )


def _check_cache(schedule: Schedule, workload: Workload) -> None:
    if schedule.feed == "cache" and workload.distinct_steps >= workload.steps:
        raise ScheduleError(
            "a cache has no use here: no step repeats the images of an earlier one."
        )


def _predicted(
    name: str,
    schedule: Schedule,
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload,
    serial: float,
) -> Prediction:
    seconds = makespan(schedule, costs, workers, workload)
    busy = [per_step * workload.steps for per_step in worker_seconds(schedule, costs, workers)]
    if schedule.feed == "cache":  # all workers write the cache before they train
        writing = seconds - max(busy)
        busy = [writing + training for training in busy]
    moved = link_bytes(schedule, costs)
    return Prediction(
        scheduler=name,
        workers=tuple(workers),
        schedule=schedule,
        seconds=seconds,
        speedup=serial / seconds,
        idle=max(0.0, 1 - sum(busy) / len(busy) / seconds),
        step_bytes=moved,
        total_bytes=moved * workload.steps,
    )
