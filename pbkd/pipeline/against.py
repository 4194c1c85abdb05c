"""Comparison of simulated with measured seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.core.files import read_foreign_json
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.errors import ConfigError, RunFolderError
from pbkd.planning.cluster import Device, Failures, Nodes
from pbkd.planning.published_costs import choose_run, split_seconds, workload_of
from pbkd.planning.simulation.simulation import simulate
from pbkd.report.jobs import is_split_anew, job_bars
from pbkd.runs.events import event_faults, read_events
from pbkd.runs.finished import read_finished
from pbkd.runs.folder import is_finished, times_resumed
from pbkd.runs.plan_files import read_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pbkd.core.blocks import BlockCost
    from pbkd.core.workload import Workload
    from pbkd.planning.cluster import Cluster


__all__ = ["Comparison", "against"]


@dataclass(frozen=True)
class Comparison:
    """Simulated and measured seconds of a run's jobs, without the start of workers.

    Or the seconds of a whole run, as they were predicted before it.
    """

    what: str
    workers: int
    simulated: float
    measured: float

    @property
    def off(self) -> float:
        """Relative error of the simulation: 0.1 if it is 10 % too slow."""
        return self.simulated / self.measured - 1


def against(path: Path, cluster: Cluster | None, setting: str | None) -> list[Comparison]:
    """Simulate runs that were measured.

    A finished run has a second comparison, of the whole run with its own prediction, unless a
    cluster is simulated. The seconds of a published run with several workers are simulated from the
    run with one worker, with the recorded schedule.

    Args:
        path: A run folder, or a file of published seconds.
        cluster: The machines to simulate; None for the workers of the plan.
        setting: Selects the published runs whose setting contains it.

    Returns:
        The comparisons.

    Raises:
        ConfigError: If the file holds no such run.
        RunFolderError: If the folder holds no plan or no finished jobs.
    """
    if path.is_dir():
        whole = _whole_run(path) if cluster is None else []
        return [_run(path, cluster), *whole]
    comparisons = list(_published(path, cluster, setting or ""))
    if not comparisons:
        raise ConfigError(f"'{path}' has no run with total_seconds and '{setting or ''}' in it.")
    return comparisons


def _run(folder: Path, cluster: Cluster | None) -> Comparison:
    plan = read_plan(folder)
    if times_resumed(folder):
        raise RunFolderError(f"'{folder}' was stopped and resumed, so its seconds have gaps.")
    if faults := event_faults(folder, {}):
        raise RunFolderError(f"'{folder}' cannot be compared: {' '.join(faults)}")
    events = read_events(folder)
    if is_split_anew(events):
        raise RunFolderError(f"'{folder}' was split anew, so the seconds of its jobs have gaps.")
    bars = job_bars(events, "teacher-fed")
    if not bars:
        raise RunFolderError(f"'{folder}' has no teacher-fed jobs that were done.")
    measured = max(bar.start + bar.seconds for bar in bars)
    table = plan.table
    simulated = _seconds(plan.schedule, table.costs, plan.workers, table.workload, cluster)
    about = f"{table.about}; {plan.scheduler}"
    return Comparison(about, len(plan.workers), simulated, measured)


def _whole_run(folder: Path) -> list[Comparison]:
    """Compare all phases of a finished run with their prediction, if there is one."""
    if not is_finished(folder):
        return []
    finished = read_finished(folder)
    if finished.seconds is None or finished.predicted_seconds is None:
        return []
    what, workers = f"{finished.result.teacher.name}; whole run", len(read_plan(folder).workers)
    return [Comparison(what, workers, finished.predicted_seconds, finished.seconds)]


def _published(path: Path, cluster: Cluster | None, setting: str) -> Iterator[Comparison]:
    for run in _runs(path):
        text = run.get("setting") if isinstance(run, dict) else None
        if not isinstance(text, str) or setting.lower() not in text.lower():
            continue
        for count, record in run["by_workers"].items():
            measured = record.get("total_seconds") if isinstance(record, dict) else None
            if not isinstance(measured, (int, float)) or not 0 < measured < 1e12:
                continue
            alone = "1" if "1" in run["by_workers"] else count
            costs = split_seconds(choose_run([run], f"{text}@{alone}", path))
            schedule = _recorded_schedule(record, int(count), f"'{path}', {text}@{count}")
            simulated = _seconds(schedule, costs, None, workload_of(text), cluster)
            yield Comparison(text, int(count), simulated, float(measured))


def _runs(path: Path) -> Sequence[Any]:
    """Read the runs of a file of published seconds."""
    try:
        runs = read_foreign_json(path)["runs"]
        choose_run(runs, runs[0]["setting"], path)
    except RunFolderError as error:
        raise ConfigError(str(error)) from error
    except (IndexError, KeyError, TypeError) as error:
        raise ConfigError(f"'{path}' is neither a run's folder nor published seconds.") from error
    return list(runs)


def _recorded_schedule(record: Mapping[str, Any], workers: int, where: str) -> Schedule:
    """Rebuild the schedule from the `worker` of each block."""
    by_worker: dict[str, list[Job]] = {}
    for block in record["blocks"]:
        if "worker" not in block:
            raise ConfigError(f"{where}: each of 'blocks' must have the 'worker' that trained it.")
        by_worker.setdefault(str(block["worker"]), []).append(Job((block["name"],)))
    if len(by_worker) > workers:
        raise ConfigError(f"{where}: its blocks were trained by {len(by_worker)} workers.")
    idle = [()] * (workers - len(by_worker))
    return Schedule((*(tuple(jobs) for _, jobs in sorted(by_worker.items())), *idle))


def _seconds(
    schedule: Schedule,
    costs: Sequence[BlockCost],
    workers: Sequence[Worker] | None,
    workload: Workload,
    cluster: Cluster | None,
) -> float:
    """Simulate on the first devices of the cluster, or on the planned workers."""
    count = len(schedule.assigned)
    if cluster is not None:
        devices = cluster.devices(count)
    else:
        group = workers or [Worker(rank) for rank in range(count)]
        devices = [Device(worker, Nodes("planned")) for worker in group]
    return simulate(schedule, costs, devices, workload, Failures()).seconds
