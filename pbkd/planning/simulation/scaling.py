"""Simulations of every scheduler on growing parts of a cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.files import write_json
from pbkd.core.schedule import Job
from pbkd.errors import ScheduleError
from pbkd.planning.cost_files import workload_data
from pbkd.planning.cost_model import job_seconds
from pbkd.planning.prediction import Unpredicted, predict_schedulers, serial_seconds
from pbkd.planning.simulation.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.blocks import BlockCost
    from pbkd.core.schedule import Schedule, Worker
    from pbkd.core.workload import Workload
    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.planning.phase_prediction import SecondsOf
    from pbkd.planning.prediction import Prediction
    from pbkd.planning.simulation.simulation import Simulation
    from pbkd.protocols import Scheduler


__all__ = [
    "SimulatedSchedule",
    "doubling_counts",
    "fastest_simulated",
    "simulate_schedulers",
    "simulated_on",
    "write_simulations",
]


@dataclass(frozen=True)
class SimulatedSchedule:
    """A scheduler's schedule on the first devices of a cluster, simulated.

    Attributes:
        prediction: The schedule, with the figures of the cost model.
        simulation: The simulated figures.
        over_paper: Speed-up over the paper's procedure (one job per block) on the first device.
        over_single_pass: Speed-up over a single pass for all blocks on the first device.
        efficiency: `over_single_pass` divided by the sum of the devices' relative speeds.
    """

    prediction: Prediction
    simulation: Simulation
    over_paper: float
    over_single_pass: float
    efficiency: float

    @property
    def workers(self) -> int:
        """The number of devices."""
        return len(self.prediction.workers)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as in a JSON file; `model_seconds` is the cost model's makespan."""
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
            "joules_reason": _missing(simulated["joules"], "busy_watts and idle_watts"),
            "cost_reason": _missing(simulated["cost"], "price"),
            **{key: planned[key] for key in ("bytes_per_step", "jobs", "shared_jobs", "reason")},
        }


def simulate_schedulers(
    table: CostTable,
    cluster: Cluster,
    counts: Sequence[int],
    schedulers: Mapping[str, Callable[[], Scheduler]],
) -> list[SimulatedSchedule | Unpredicted]:
    """Simulate every scheduler on the first devices of a cluster.

    Args:
        table: Costs per step and the workload.
        cluster: Nodes, links and failures.
        counts: The numbers of devices to simulate.
        schedulers: A factory for each scheduler, by name.

    Returns:
        A row per count and scheduler; `Unpredicted` without a valid schedule, or where devices
        fail too often for the run to end.

    Raises:
        ConfigError: If a count exceeds the cluster's devices, or all costs are zero.
    """
    costs, workload = table.costs, table.workload
    first = cluster.devices(1)[0].worker
    paper = serial_seconds(costs, first, workload)
    every = Job(tuple(cost.name for cost in costs))
    single_pass = job_seconds(every, costs) / first.speed * workload.steps
    rows: list[SimulatedSchedule | Unpredicted] = []
    for count in counts:
        devices = cluster.devices(count)
        workers = [device.worker for device in devices]
        power = sum(worker.speed for worker in workers) / first.speed
        for row in predict_schedulers(costs, workers, workload, schedulers):
            if isinstance(row, Unpredicted):
                rows.append(row)
                continue
            try:
                simulation = simulate(row.schedule, costs, devices, workload, cluster.failures)
            except ScheduleError as error:
                rows.append(Unpredicted(row.scheduler, row.workers, str(error)))
                continue
            over = single_pass / simulation.seconds
            rows.append(
                SimulatedSchedule(row, simulation, paper / simulation.seconds, over, over / power)
            )
    return rows


def fastest_simulated(rows: Sequence[SimulatedSchedule | Unpredicted]) -> SimulatedSchedule | None:
    """Return the simulated schedule with the least seconds; None if there is none."""
    simulated = [row for row in rows if isinstance(row, SimulatedSchedule)]
    return min(simulated, key=lambda row: row.simulation.seconds, default=None)


def simulated_on(cluster: Cluster, workers: Sequence[Worker]) -> SecondsOf:
    """Return the simulation on the devices of some workers, the first ones of a cluster."""
    devices = cluster.devices(len(workers))

    def seconds(schedule: Schedule, costs: Sequence[BlockCost], workload: Workload) -> float:
        return simulate(schedule, costs, devices, workload, cluster.failures).seconds

    return seconds


def doubling_counts(size: int) -> list[int]:
    """Return the device counts 1, 2, 4, … and `size`."""
    return [*(2**power for power in range((size - 1).bit_length())), size]


def write_simulations(
    path: Path,
    table: CostTable,
    cluster: Cluster,
    rows: Sequence[SimulatedSchedule | Unpredicted],
    runs: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the assumptions, every row, and the whole runs to a JSON file."""
    head = {"format": 1, "about": table.about, **workload_data(table.workload)}
    figures = {
        "cluster": asdict(cluster),
        "simulations": [row.to_dict() for row in rows],
        "whole_runs": list(runs),
    }
    write_json(path, {**head, **figures})


def _missing(figure: float | None, keys: str) -> str | None:
    return f"the cluster file gives no {keys} for a device" if figure is None else None
