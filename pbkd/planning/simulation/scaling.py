"""Every scheduler on the first devices of a cluster: how far it pays to add workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.schedule import Job
from pbkd.errors import ScheduleError
from pbkd.planning.cost_model import job_seconds
from pbkd.planning.prediction import Unpredicted, predict, serial_seconds
from pbkd.planning.simulation.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.prediction import Prediction
    from pbkd.planning.simulation.simulation import Simulation
    from pbkd.protocols import Scheduler


__all__ = ["Scaled", "quickest", "scale"]


@dataclass(frozen=True)
class Scaled:
    """A scheduler's schedule on so many devices, simulated.

    Two speed-ups, both over the first device alone: over the paper's procedure, a job for each
    block, and over a single pass for all blocks. `efficiency` is of the latter: what the devices'
    speeds add up to would give 1.
    """

    prediction: Prediction
    simulation: Simulation
    over_paper: float
    over_single_pass: float
    efficiency: float

    @property
    def workers(self) -> int:
        """How many devices."""
        return len(self.prediction.workers)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for a JSON file; `model_seconds` are those that schedulers compare."""
        planned = self.prediction.to_dict()
        simulated = asdict(self.simulation)
        return {
            **{key: planned[key] for key in ("workers", "scheduler", "feed")},
            "seconds": simulated.pop("seconds"),
            "model_seconds": planned["seconds"],
            "speedup_over_paper": self.over_paper,
            "speedup_over_single_pass": self.over_single_pass,
            "efficiency": self.efficiency,
            **simulated,
            "joules_reason": _why(simulated["joules"], "busy_watts and idle_watts"),
            "cost_reason": _why(simulated["cost"], "price"),
            **{key: planned[key] for key in ("bytes_per_step", "jobs", "shared_jobs", "reason")},
        }


def scale(
    table: CostTable,
    cluster: Cluster,
    counts: Sequence[int],
    schedulers: Mapping[str, Callable[[], Scheduler]],
) -> list[Scaled | Unpredicted]:
    """Return a row for every scheduler on the first so many devices, for each of `counts`."""
    costs, workload = table.costs, table.workload
    first = cluster.devices(1)[0].worker
    paper = serial_seconds(costs, first, workload)
    every = Job(tuple(cost.name for cost in costs))
    single_pass = job_seconds(every, costs) / first.speed * workload.steps
    rows: list[Scaled | Unpredicted] = []
    for count in counts:
        devices = cluster.devices(count)
        workers = [device.worker for device in devices]
        power = sum(worker.speed for worker in workers) / first.speed
        for row in predict(costs, workers, workload, schedulers):
            if isinstance(row, Unpredicted):
                rows.append(row)
                continue
            try:
                found = simulate(row.schedule, costs, devices, workload, cluster.failures)
            except ScheduleError as error:
                rows.append(Unpredicted(row.scheduler, row.workers, str(error)))
                continue
            over = single_pass / found.seconds
            rows.append(Scaled(row, found, paper / found.seconds, over, over / power))
    return rows


def quickest(rows: Sequence[Scaled | Unpredicted]) -> Scaled | None:
    """Return the row with the least seconds, if there is any."""
    found = [row for row in rows if isinstance(row, Scaled)]
    return min(found, key=lambda row: row.simulation.seconds, default=None)


def _why(figure: float | None, keys: str) -> str | None:
    return f"the cluster file gives no {keys} of a device" if figure is None else None
