"""Benchmarks on this machine: launch the ranks, predict, collect the results."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from pbkd.bench.cross_checks import check_steps
from pbkd.bench.gather import gather
from pbkd.bench.presets import find_preset
from pbkd.bench.result import BenchResult
from pbkd.bench.savings import savings
from pbkd.bench.worker import procedure_schedules, run_rank
from pbkd.core.blocks import BlockCost
from pbkd.core.devices import describe_device, pick_device
from pbkd.core.files import write_json
from pbkd.core.json_lines import read_lines
from pbkd.core.schedule import Worker
from pbkd.core.workload import Workload
from pbkd.errors import ConfigError
from pbkd.execution.workers import local_workers
from pbkd.planning.cost_files import CostTable, write_costs
from pbkd.planning.cost_model import makespan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pbkd.bench.presets import Preset
    from pbkd.plugin.registry import Registry

__all__ = ["BenchSettings", "run_benchmark"]


@dataclass(frozen=True)
class BenchSettings:
    """How procedures are measured.

    Attributes:
        workers: Workers of the parallel procedures; with 1 there are none of these.
        threads: CPU threads of each worker.
        rounds: Number of times that each procedure is timed.
        meters: Names of the energy meters to read.
        batch_size: Images per batch; None for the preset's.
    """

    workers: int = 2
    threads: int = 1
    rounds: int = 3
    meters: tuple[str, ...] = ()
    batch_size: int | None = None


def run_benchmark(
    registry: Registry, name: str, folder: Path, settings: BenchSettings
) -> BenchResult:
    """Run a preset's procedures in turn, round by round, on workers of this machine.

    Args:
        registry: Provides models, schedulers, meters and the launcher.
        name: The preset.
        folder: Gets `costs.json` and the files of the ranks.
        settings: Workers, threads, rounds and meters.

    Returns:
        The figures of all procedures.

    Raises:
        ConfigError: If the preset or the settings are wrong.
        UnknownNameError: If a meter is not installed.
        WorkerError: If a rank fails.
        BenchError: If a procedure did not train every block in every step.
    """
    preset = find_preset(name, settings.batch_size)
    if settings.workers < 1 or settings.threads < 1 or settings.rounds < 1:
        raise ConfigError("a benchmark needs at least 1 worker, 1 thread and 1 round.")
    for meter in settings.meters:
        registry.find("meter", meter)
    ranks = local_workers(settings.workers, settings.threads, pick_device("auto"))
    job = {"preset": asdict(preset), "workers": [asdict(rank) for rank in ranks]}
    write_json(
        folder / "bench.json",
        {**job, "rounds": settings.rounds, "meters": [*settings.meters]},
    )
    registry.create("launcher", {"name": "local", "restarts": 0}).launch(run_rank, folder, ranks)
    measurements = _read_measurements(folder)
    costs = next(line for line in measurements if line["kind"] == "costs")
    check_steps(measurements, costs["blocks"])
    write_costs(folder / "costs.json", _cost_table(name, preset, ranks, costs))
    predicted = _predicted(registry, measurements, ranks, costs)
    procedures, speedups = gather(measurements, preset.batch_size, predicted)
    return BenchResult(
        preset=name,
        workers=settings.workers,
        threads=settings.threads,
        batch_size=preset.batch_size,
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        procedures=procedures,
        speedups=speedups,
        checkpoint_seconds=next(m["seconds"] for m in measurements if m["kind"] == "checkpoint"),
        environment=_environment(ranks[0].device),
        savings=savings(procedures),
    )


def _read_measurements(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "measurements").glob("*.jsonl"))
    return [line for path in files for line in read_lines(path)]


def _environment(device: str) -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "device": describe_device(torch.device(device)),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _cost_table(
    name: str, preset: Preset, ranks: Sequence[Worker], figures: Mapping[str, Any]
) -> CostTable:
    """Return the costs measured on an idle machine, for 1,000 steps on distinct images."""
    about = f"{name}, batch {preset.batch_size}, {ranks[0].device}, {ranks[0].threads} thread(s)"
    return CostTable(about, tuple(BlockCost(**c) for c in figures["alone"]), Workload(1000, 1000))


def _predicted(
    registry: Registry,
    measurements: Sequence[Mapping[str, Any]],
    ranks: Sequence[Worker],
    figures: Mapping[str, Any],
) -> dict[str, float]:
    """Predict the seconds per step of each procedure from the costs that rank 0 recorded.

    Procedures on one worker use costs measured while the other ranks were idle; the others use
    costs measured while all were busy, because cores with a common memory slow each other down.
    """
    steps = {m["name"]: m["steps"] for m in measurements if m["kind"] == "procedure"}
    alone, together = ([BlockCost(**cost) for cost in figures[k]] for k in ("alone", "together"))
    workers = [Worker(**(asdict(rank) | {"bandwidth": figures["bandwidth"]})) for rank in ranks]
    schedules = procedure_schedules(registry, alone, together, workers)
    predictions = {}
    for name in steps.keys() - {"serial-plain"}:
        costs = alone if name in ("serial", "single-pass") else together
        workload = Workload(steps[name], 0)  # the cache is filled before the timed steps
        seconds = makespan(schedules[name], costs, workers, workload)
        predictions[name] = seconds / steps[name]
    return predictions
