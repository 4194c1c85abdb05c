"""One rank of a benchmark: measure costs, time every procedure, record measurements."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from pbkd.bench.presets import Preset
from pbkd.bench.procedures import checkpoint_seconds, run_cache, run_jobs, run_relay
from pbkd.bench.rates import link_rate, mean_costs, peak_memory, reset_peak_memory
from pbkd.bench.rig import Rig, build_rigs
from pbkd.core.blocks import BlockCost
from pbkd.core.devices import use_device
from pbkd.core.files import read_json, write_json
from pbkd.core.json_lines import append_line
from pbkd.core.process import keep_freed_memory, release_freed_memory
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.core.workload import Workload
from pbkd.energy.monitor import monitor_energy
from pbkd.execution.process_group import process_group
from pbkd.planning.profiling import measure_costs
from pbkd.planning.scheduler_call import ask_scheduler
from pbkd.plugin.registry import build_registry
from pbkd.training.activation_cache import CacheSpec
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.cache_filling import open_cache
from pbkd.training.learner import BlockMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.plugin.registry import Registry
    from pbkd.training.activation_cache import ActivationCache
    from pbkd.training.relay import CreateGroup

__all__ = ["PROCEDURES", "procedure_schedules", "run_rank"]

PROCEDURES = ("serial", "paper", "single-pass", "pipeline", "cache", "serial-plain")
"""The procedures in the order in which they run."""
_FILLED = Workload(steps=1, distinct_steps=0)  # the cache is filled before the timed steps


def run_rank(folder: Path, rank: int) -> None:
    """Run one rank of the benchmark that `folder/bench.json` describes.

    Every rank records the seconds, CPU seconds and peak memory of each procedure; rank 0 also
    records costs, bandwidth and energy.
    """
    keep_freed_memory()
    settings = read_json(folder / "bench.json")
    workers = [Worker(**worker) for worker in settings["workers"]]
    torch.set_num_threads(workers[rank].threads)
    device = torch.device(workers[rank].device)
    use_device(device)
    registry = build_registry()
    fused, plain = build_rigs(registry, Preset(**settings["preset"]), rank, device)
    with process_group(device, rank, len(workers), "bench") as create_group:
        schedules = _measured_schedules(folder, registry, fused, workers)
        cache = _filled_cache(folder / "cache", fused, len(workers))
        run = _runner(fused, plain, schedules, cache, create_group)
        names = settings["meters"] if rank == 0 else []
        meters = [registry.create("meter", {"name": name}) for name in names]
        with monitor_energy(meters) as monitor:
            _run_rounds(folder, rank, settings, run, monitor)
        if rank == 0:
            fused.start()
            run("single-pass", 1)  # so that the optimisers of all blocks have their state
            seconds = checkpoint_seconds(fused, folder / "checkpoints")
            _record(folder, rank, "checkpoint", seconds=seconds)


def _measured_schedules(
    folder: Path, registry: Registry, rig: Rig, workers: Sequence[Worker]
) -> dict[str, Schedule]:
    """Measure costs and bandwidth, record them, and schedule every procedure."""
    rank, device = rig.rank, rig.images[0].device
    alone = _costs_of_rank_0(rig, folder / "alone.json")
    offset = rank * len(rig.chain) // len(workers)
    together = mean_costs(_costs(rig, offset), device)
    workers = [Worker(**(asdict(w) | {"bandwidth": link_rate(rank, device)})) for w in workers]
    if rank == 0:
        _record(
            folder, rank, "costs",
            blocks=[*rig.blocks],
            alone=[asdict(cost) for cost in alone],
            together=[asdict(cost) for cost in together],
            bandwidth=workers[0].bandwidth,
        )  # fmt: skip
    return procedure_schedules(registry, alone, together, workers)


def _runner(
    fused: Rig,
    plain: Rig,
    schedules: Mapping[str, Schedule],
    cache: ActivationCache,
    create_group: CreateGroup,
) -> Callable[[str, int], dict[str, int]]:
    """Return a function that runs a procedure for a number of steps, and counts each block's."""
    queues = itertools.count()

    def run(name: str, steps: int) -> dict[str, int]:
        rig = plain if name == "serial-plain" else fused
        rig.start()
        schedule = schedules[name]
        if schedule.feed == "relay":
            run_relay(rig, schedule, steps, create_group)
        elif schedule.feed == "cache":
            run_cache(rig, schedule, steps, cache)
        else:
            run_jobs(rig, schedule, steps, f"bench {next(queues)}")
        return rig.steps_taken()

    return run


def _run_rounds(
    folder: Path,
    rank: int,
    settings: Mapping[str, Any],
    run: Callable[[str, int], dict[str, int]],
    monitor: EnergyMonitor,
) -> None:
    """Run every procedure once per round, after a warm-up of a few steps.

    Peak memory is measured in the warm-up: later, a process also keeps the memory of the other
    procedures.
    """
    preset = Preset(**settings["preset"])
    peaks = {name: _peak(partial(run, name, preset.warm_up_steps(name))) for name in PROCEDURES}
    for round_ in range(settings["rounds"]):
        for name in PROCEDURES:
            if name == "serial-plain" and round_ > 0:
                continue
            steps = preset.steps(name)
            measured = _timed(partial(run, name, steps), monitor, f"{name} {round_}")
            _record(
                folder, rank, "procedure",
                name=name, round=round_, steps=steps, peak_bytes=peaks[name],
                device=settings["workers"][rank]["device"], **measured,
            )  # fmt: skip


def _record(folder: Path, rank: int, kind: str, **figures: Any) -> None:
    append_line(
        folder / "measurements" / f"rank{rank}.jsonl", {"kind": kind, "rank": rank, **figures}
    )


def _peak(work: Callable[[], object]) -> int | None:
    """Do this rank's work and return its peak resident memory."""
    dist.barrier()
    release_freed_memory()
    reset_peak_memory()
    work()
    return peak_memory()


def _timed(
    work: Callable[[], dict[str, int]], monitor: EnergyMonitor, window: str
) -> dict[str, Any]:
    """Do this rank's work between two barriers and return its seconds, CPU seconds and joules."""
    dist.barrier()
    cpu, start = time.process_time(), time.perf_counter()
    with monitor.window(window):
        steps = work()
        busy = time.perf_counter() - start
        dist.barrier()
    energy = monitor.windows[window]
    return {
        "seconds": time.perf_counter() - start,
        "busy_seconds": busy,
        "cpu_seconds": time.process_time() - cpu,
        "steps_taken": steps,
        "joules": None if energy.joules is None else dict(energy.joules),
        "joules_reason": energy.reason,
        "devices": {d: domain.device for d, domain in energy.domains.items() if domain.device},
        "lost": [*energy.lost],
    }


def _costs(rig: Rig, offset: int = 0) -> list[BlockCost]:
    method = BlockMethod(apply_to_blocks(rig.loss, rig.chain), rig.optimisation)
    return measure_costs(rig.chain, rig.replacements, rig.images[0], method, offset=offset).blocks


def _costs_of_rank_0(rig: Rig, path: Path) -> list[BlockCost]:
    """Let rank 0 measure while the others wait; all ranks read its result from a file."""
    if rig.rank == 0:
        write_json(path, {"blocks": [asdict(cost) for cost in _costs(rig)]})
    dist.barrier()
    return [BlockCost(**cost) for cost in read_json(path)["blocks"]]


def procedure_schedules(
    registry: Registry,
    alone: Sequence[BlockCost],
    together: Sequence[BlockCost],
    workers: Sequence[Worker],
) -> dict[str, Schedule]:
    """Return the schedule of each of `PROCEDURES`; serial ones leave all workers but one idle.

    Args:
        registry: Provides the schedulers.
        alone: Costs measured while the other ranks were idle.
        together: Costs measured while all ranks were busy.
        workers: The workers, ordered by rank.
    """
    idle: tuple[tuple[Job, ...], ...] = ((),) * (len(workers) - 1)
    names = [cost.name for cost in alone]
    by_block = tuple(Job((name,)) for name in names)

    def scheduled(name: str) -> Schedule:
        scheduler = registry.create("scheduler", {"name": name})
        return ask_scheduler(scheduler, together, workers, _FILLED)

    return {
        "serial": Schedule((by_block, *idle)),
        "paper": scheduled("lpt-scheduler"),
        "single-pass": Schedule(((Job(tuple(names)),), *idle)),
        "pipeline": scheduled("pipeline"),
        "cache": scheduled("cached"),
        "serial-plain": Schedule((by_block, *idle)),
    }


def _filled_cache(folder: Path, rig: Rig, workers: int) -> ActivationCache:
    """Fill the activation cache; each rank writes its share of the batches."""
    rows = len(rig.images[0])
    share = [
        (slice(index * rows, (index + 1) * rows), rig.images[index])
        for index in range(rig.rank, len(rig.images), workers)
    ]
    blocks = list(rig.blocks.values())
    spec = CacheSpec(folder / "activations", blocks, rows * len(rig.images))
    return open_cache(spec, rig.chain, share, rank=rig.rank, workers=workers)
