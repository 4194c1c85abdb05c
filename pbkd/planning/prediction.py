"""What every scheduler would take, from costs alone: seconds, speed-up, idle share, bytes moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.schedule import Job, Schedule, check_schedule
from pbkd.errors import PLUGIN_FAILURES, ConfigError, ScheduleError, one_line
from pbkd.planning.cost_model import makespan, worker_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Worker
    from pbkd.planning.plan import Workload
    from pbkd.protocols import Scheduler


__all__ = ["Prediction", "Unpredicted", "fastest", "link_bytes", "predict", "serial_seconds"]

_ALIKE = 1 + 1e-9


@dataclass(frozen=True)
class Prediction:
    """A scheduler's schedule for these workers, and what it should take.

    `speedup` is over the paper's procedure on the first of the workers alone (`serial_seconds`).
    `idle` is the share of the workers' time until the makespan in which they do nothing.
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
        """Return the figures for a JSON file."""
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
    """A scheduler that gave no valid schedule for these workers, and why."""

    scheduler: str
    workers: tuple[Worker, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the same keys as a prediction's that have a value here."""
        figures = {"seconds": None, "reason": self.reason}
        return {"workers": len(self.workers), "scheduler": self.scheduler, **figures}


def predict(
    costs: Sequence[BlockCost],
    workers: Sequence[Worker],
    workload: Workload,
    schedulers: Mapping[str, Callable[[], Scheduler]],
) -> list[Prediction | Unpredicted]:
    """Ask every scheduler for its schedule of `costs` over `workers`; return a row for each.

    A scheduler that cannot be made, fails, or gives an invalid schedule stops no other.
    """
    serial = serial_seconds(costs, workers[0], workload)
    rows: list[Prediction | Unpredicted] = []
    for name, make in schedulers.items():
        try:
            schedule = make().schedule(costs, workers)
            check_schedule(schedule, costs, len(workers))
            _check_cache(schedule, workload)
            rows.append(_predicted(name, schedule, costs, workers, workload, serial))
        except PLUGIN_FAILURES as error:
            rows.append(Unpredicted(name, tuple(workers), one_line(error)))
    return rows


def serial_seconds(costs: Sequence[BlockCost], worker: Worker, workload: Workload) -> float:
    """Return the seconds of the paper's procedure on one worker: a job for each block, recomputed.

    Raises `ConfigError` where they are zero, to which nothing can be compared.
    """
    schedule = Schedule((tuple(Job((cost.name,)) for cost in costs),))
    seconds = makespan(schedule, costs, [worker], workload)
    if not seconds:
        raise ConfigError("the costs are all zero: measure them again.")
    return seconds


def fastest(rows: Sequence[Prediction | Unpredicted]) -> list[Prediction]:
    """Return the rows with the least seconds: several where they are alike."""
    found = [row for row in rows if isinstance(row, Prediction)]
    least = min((row.seconds for row in found), default=0.0)
    return [row for row in found if row.seconds <= least * _ALIKE]


def link_bytes(schedule: Schedule, costs: Sequence[BlockCost]) -> int:
    """Return the bytes that one step moves between workers.

    Over every cut of a relay goes the input of the block behind it. The n workers of a shared
    stage add up their gradients in a ring, which moves them 2 (n - 1) times.
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


def _check_cache(schedule: Schedule, workload: Workload) -> None:
    if schedule.feed == "cache" and workload.distinct_steps >= workload.steps:
        raise ScheduleError("no step shows images again, so a cache would never be read twice.")


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
    if schedule.feed == "cache":  # all workers write it, before anything else
        writing = seconds - max(busy)
        busy = [writing + own for own in busy]
    moved = link_bytes(schedule, costs)
    return Prediction(
        name,
        tuple(workers),
        schedule,
        seconds,
        speedup=serial / seconds,
        idle=max(0.0, 1 - sum(busy) / len(busy) / seconds),
        step_bytes=moved,
        total_bytes=moved * workload.steps,
    )
