"""A benchmark, seen from the host: launch the ranks, predict, put the result together."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from pbkd.bench.presets import find_preset
from pbkd.bench.result import BenchResult, gather, savings
from pbkd.bench.worker import measure, procedure_schedules
from pbkd.core.blocks import BlockCost
from pbkd.core.devices import pick_device
from pbkd.core.files import write_json
from pbkd.core.schedule import Worker
from pbkd.errors import ConfigError
from pbkd.execution.workers import local_workers
from pbkd.planning.cost_files import CostTable, write_costs
from pbkd.planning.cost_model import makespan
from pbkd.planning.plan import Workload
from pbkd.runs.events import read_events

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.bench.presets import Preset
    from pbkd.core.events import Event
    from pbkd.plugin.registry import Registry

__all__ = ["bench"]


def bench(
    registry: Registry,
    name: str,
    folder: Path,
    *,
    workers: int,
    threads: int,
    rounds: int,
    meters: Sequence[str] = (),
) -> BenchResult:
    """Run a preset's procedures in turn, `rounds` times, on so many workers of this machine.

    `meters` are the names of those that are read. The ranks' files are left in `folder`. Raises
    `ConfigError`, `UnknownNameError` or `WorkerError`.
    """
    preset = find_preset(name)
    if workers < 2 or threads < 1 or rounds < 1:
        raise ConfigError("a benchmark needs 2 or more workers, and a thread and a round or more.")
    for meter in meters:
        registry.find("meter", meter)
    ranks = local_workers(workers, threads, pick_device("auto"))
    settings = {"preset": asdict(preset), "workers": [asdict(rank) for rank in ranks]}
    write_json(folder / "bench.json", {**settings, "rounds": rounds, "meters": [*meters]})
    registry.create("launcher", {"name": "local", "restarts": 0}).launch(measure, folder, ranks)
    events = read_events(folder)
    write_costs(folder / "costs.json", _cost_table(name, preset, ranks, events))
    predicted = _predicted(registry, preset, ranks, events)
    procedures, speedups = gather(events, preset.batch_size, predicted)
    return BenchResult(
        preset=name,
        workers=workers,
        threads=threads,
        batch_size=preset.batch_size,
        command=shlex.join(["pbkd", *sys.argv[1:]]),
        procedures=procedures,
        speedups=speedups,
        checkpoint_seconds=next(e["seconds"] for e in events if e["event"] == "checkpoint"),
        environment={
            "torch": torch.__version__,
            "device": ranks[0].device,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        },
        savings=savings(procedures),
    )


def _cost_table(
    name: str, preset: Preset, ranks: Sequence[Worker], events: Sequence[Event]
) -> CostTable:
    """Return the costs measured alone, for 1,000 steps on images that are never seen twice."""
    told = next(event for event in events if event["event"] == "costs")
    about = f"{name}, batch {preset.batch_size}, {ranks[0].device}, {ranks[0].threads} thread(s)"
    return CostTable(about, tuple(BlockCost(**c) for c in told["alone"]), Workload(1000, 1000))


def _predicted(
    registry: Registry, preset: Preset, ranks: Sequence[Worker], events: Sequence[Event]
) -> dict[str, float]:
    """Predict seconds per step from the costs that rank 0 told of.

    Procedures of one worker from costs measured alone, those of all from costs measured while all
    were busy: cores that share a memory slow each other.
    """
    told = next(event for event in events if event["event"] == "costs")
    alone, together = ([BlockCost(**cost) for cost in told[k]] for k in ("alone", "together"))
    crew_ = [Worker(**(asdict(rank) | {"bandwidth": told["bandwidth"]})) for rank in ranks]
    schedules = procedure_schedules(registry, alone, together, crew_)
    predictions = {}
    for name, schedule in schedules.items():
        if name == "serial-plain":
            continue
        steps = preset.steps(name)
        costs = alone if name in ("serial", "single-pass") else together
        # The cache is filled before its steps are timed.
        workload = Workload(steps, 0)
        predictions[name] = makespan(schedule, costs, crew_, workload) / steps
    return predictions
