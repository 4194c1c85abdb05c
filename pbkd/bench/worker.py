"""One rank of a benchmark: measure costs, time every procedure, record measurements."""

from __future__ import annotations

import itertools
import math
import time
from contextlib import contextmanager
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
from pbkd.models.latency import synchronise
from pbkd.planning.profiling import measure_costs
from pbkd.planning.scheduler_call import ask_scheduler
from pbkd.plugin.registry import build_registry
from pbkd.training.activation_cache import CacheSpec
from pbkd.training.applied_loss import apply_to_blocks
from pbkd.training.cache_filling import open_cache
from pbkd.training.exchange import exchange_device
from pbkd.training.learner import BlockMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.plugin.registry import Registry
    from pbkd.training.activation_cache import ActivationCache
    from pbkd.training.relay import CreateGroup

__all__ = ["PROCEDURES", "procedure_schedules", "procedures_of", "run_rank"]

PROCEDURES = ("serial", "paper", "single-pass", "pipeline", "cache", "serial-plain")
"""The procedures in the order in which they run."""
_OF_ONE = ("serial", "single-pass", "serial-plain")
_WINDOW = 2.0  # seconds: sensors of accelerators have a resolution of a tenth
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
    alone = len(workers) == 1
    with _no_group() if alone else process_group(device, rank, len(workers), "bench") as create:
        schedules = _measured_schedules(folder, registry, fused, workers)
        cached = "cache" in procedures_of(len(workers))
        cache = _filled_cache(folder / "cache", fused, len(workers)) if cached else None
        run = _runner(fused, plain, schedules, cache, create)
        names = settings["meters"] if rank == 0 else []
        meters = [registry.create("meter", {"name": name}) for name in names]
        with monitor_energy(meters) as monitor:
            _run_rounds(folder, rank, settings, run, monitor)
        if rank == 0:
            fused.start()
            run("single-pass", 1)  # so that the optimisers of all blocks have their state
            seconds = checkpoint_seconds(fused, folder / "checkpoints")
            _record(folder, rank, "checkpoint", seconds=seconds)


@contextmanager
def _no_group() -> Iterator[CreateGroup]:
    """Let one rank alone pass barriers, and exchange with itself."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        yield lambda _ranks: None
    finally:
        dist.destroy_process_group()


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
    cache: ActivationCache | None,
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
            assert cache is not None, "several workers have filled it"
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
    device = torch.device(settings["workers"][rank]["device"])
    names = procedures_of(len(settings["workers"]))
    peaks = {name: _peak(partial(run, name, preset.warm_up_steps(name)), device) for name in names}
    steps = {name: _steps(preset, name, run, device) for name in names}
    for round_ in range(settings["rounds"]):
        for name in names:
            if name == "serial-plain" and round_ > 0:
                continue
            work = partial(run, name, steps[name])
            _record(
                folder, rank, "procedure",
                name=name, round=round_, steps=steps[name], peak_bytes=peaks[name],
                device=str(device), **_timed(work, monitor, f"{name} {round_}", device),
            )  # fmt: skip


def procedures_of(workers: int) -> tuple[str, ...]:
    """Return the procedures that differ with this number of workers."""
    return PROCEDURES if workers > 1 else _OF_ONE


def _steps(
    preset: Preset, name: str, run: Callable[[str, int], object], device: torch.device
) -> int:
    """Return the number of timed steps: the preset's, or, on accelerators, two seconds' at least.

    All ranks take as many as rank 0 would.
    """
    steps = preset.steps(name)
    if device.type == "cpu":
        return steps
    dist.barrier()
    start = time.perf_counter()
    run(name, steps)
    synchronise(device)
    dist.barrier()
    seconds = time.perf_counter() - start
    enough = torch.tensor(math.ceil(steps * max(1.0, _WINDOW / seconds)))
    enough = enough.to(exchange_device(device))
    dist.broadcast(enough, 0)
    return int(enough)


def _record(folder: Path, rank: int, kind: str, **figures: Any) -> None:
    append_line(
        folder / "measurements" / f"rank{rank}.jsonl", {"kind": kind, "rank": rank, **figures}
    )


def _peak(work: Callable[[], object], device: torch.device) -> int | None:
    """Do this rank's work and return its peak memory."""
    dist.barrier()
    release_freed_memory()
    reset_peak_memory(device)
    work()
    return peak_memory(device)


def _timed(
    work: Callable[[], dict[str, int]], monitor: EnergyMonitor, window: str, device: torch.device
) -> dict[str, Any]:
    """Do this rank's work between two barriers and return its seconds, CPU seconds and joules."""
    dist.barrier()
    cpu, start = time.process_time(), time.perf_counter()
    with monitor.window(window):
        steps = work()
        synchronise(device)
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
