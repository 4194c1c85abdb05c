"""One rank of a benchmark: sets up, measures costs, runs every procedure in turn, tells."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from pbkd.bench.presets import Preset
from pbkd.bench.procedures import Rig, checkpoint_seconds, run_cache, run_jobs, run_relay
from pbkd.bench.rates import link_rate, mean_costs, peak_memory, reset_peak_memory
from pbkd.config.schema import RunConfig
from pbkd.core.files import read_json
from pbkd.core.process import give_back_memory, keep_freed_memory
from pbkd.core.schedule import Job, Schedule, Worker
from pbkd.energy.monitor import monitor_energy
from pbkd.execution.process_group import process_group
from pbkd.models.chain import blocks_of, freeze, fuse_batchnorm
from pbkd.models.partition import pick_partitioner
from pbkd.models.replacement import propose, replaceable
from pbkd.models.teacher import build_network
from pbkd.planning.profiling import measure_costs
from pbkd.plugin.registry import build_registry
from pbkd.runs.events import record
from pbkd.training.activation_cache import CacheSpec
from pbkd.training.cache_filling import open_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from pbkd.core.blocks import BlockCost
    from pbkd.energy.monitor import EnergyMonitor
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import EnergyMeter
    from pbkd.training.activation_cache import ActivationCache

__all__ = ["measure", "procedure_schedules", "rigs"]


def measure(folder: Path, rank: int) -> None:
    """Do one rank's part of the benchmark that `folder/bench.json` describes.

    Rank 0 tells of the costs and of each procedure's seconds; every rank of its own CPU seconds
    and peak memory.
    """
    keep_freed_memory()
    settings = read_json(folder / "bench.json")
    workers = [Worker(**worker) for worker in settings["workers"]]
    torch.set_num_threads(workers[rank].threads)
    device = torch.device(workers[rank].device)
    registry = build_registry()
    fused, plain = rigs(registry, Preset(**settings["preset"]), rank, device)
    with process_group(device, rank, len(workers), "bench"):
        alone = _in_turn(lambda: _costs(fused), rank)
        offset = rank * len(fused.chain) // len(workers)
        together = mean_costs(_costs(fused, offset), device)
        workers = [Worker(**(asdict(w) | {"bandwidth": link_rate(rank, device)})) for w in workers]
        if rank == 0:
            record(
                folder, "rank0", "costs",
                alone=[asdict(cost) for cost in alone],
                together=[asdict(cost) for cost in together],
                bandwidth=workers[0].bandwidth,
            )  # fmt: skip
        schedules = procedure_schedules(registry, alone, together, workers)
        cache = _filled(folder / "cache", rank, fused, len(workers))
        queues = itertools.count()

        def run(name: str, steps: int) -> None:
            rig = plain if name == "serial-plain" else fused
            schedule = schedules[name]
            if schedule.feed == "relay":
                run_relay(rig, schedule, steps)
            elif schedule.feed == "cache":
                run_cache(rig, schedule, steps, cache)
            else:
                run_jobs(rig, schedule, steps, f"bench {next(queues)}")

        names = settings["meters"] if rank == 0 else []
        meters = [registry.create("meter", {"name": name}) for name in names]
        _take_turns(folder, rank, settings, tuple(schedules), meters, run)
        if rank == 0:  # which has trained every block, in single-pass
            seconds = checkpoint_seconds(fused, folder / "checkpoints")
            record(folder, "rank0", "checkpoint", seconds=seconds)


def _take_turns(
    folder: Path,
    rank: int,
    settings: Mapping[str, Any],
    names: Sequence[str],
    meters: Sequence[EnergyMeter],
    run: Callable[[str, int], None],
) -> None:
    """Run every procedure once per round, in turn, after a warm-up of a few steps.

    Memory is measured in the warm-up: later on a process keeps what other procedures took.
    """
    preset = Preset(**settings["preset"])
    peaks = {name: _peak(partial(run, name, preset.warm_up_steps(name))) for name in names}
    with monitor_energy(meters) as monitor:
        for round_ in range(settings["rounds"]):
            for name in names:
                if name == "serial-plain" and round_ > 0:
                    continue
                steps = preset.steps(name)
                measured = _timed(partial(run, name, steps), monitor, f"{name} {round_}")
                record(
                    folder, f"rank{rank}", "procedure",
                    name=name, round=round_, rank=rank, steps=steps, peak_bytes=peaks[name],
                    device=settings["workers"][rank]["device"], **measured,
                )  # fmt: skip


def _peak(work: Callable[[], None]) -> int | None:
    """Do this rank's work; return the largest resident memory meanwhile."""
    dist.barrier()
    give_back_memory()
    reset_peak_memory()
    work()
    return peak_memory()


def _timed(work: Callable[[], None], monitor: EnergyMonitor, window: str) -> dict[str, Any]:
    """Do this rank's work between two barriers; return its seconds, CPU seconds and joules."""
    dist.barrier()
    cpu, start = time.process_time(), time.perf_counter()
    with monitor.window(window):
        work()
        busy = time.perf_counter() - start
        dist.barrier()
    energy = monitor.windows[window]
    return {
        "seconds": time.perf_counter() - start,
        "busy_seconds": busy,
        "cpu_seconds": time.process_time() - cpu,
        "joules": None if energy.joules is None else dict(energy.joules),
        "joules_reason": energy.reason,
        "devices": {d: domain.device for d, domain in energy.domains.items() if domain.device},
        "lost": [*energy.lost],
    }


def rigs(registry: Registry, preset: Preset, rank: int, device: torch.device) -> tuple[Rig, Rig]:
    """Build the same network on every rank: folded and channels-last, and plain as it comes."""
    torch.manual_seed(0)
    network = build_network(registry, preset.teacher).to(device)
    shape = (preset.batch_size, *preset.image_shape)
    images = [torch.randn(shape, device=device) for _ in range(preset.distinct_steps)]
    _settle(network, images[0])
    chain = pick_partitioner(registry, {"name": "auto"}, freeze(network)).partition(network)
    names = replaceable(chain, RunConfig().keep)
    builder = registry.create("builder", preset.builder)
    blocks = blocks_of(chain, images[0][:1], names)
    proposals = [propose(builder, chain[block.position], block, 0) for block in blocks]
    replacements = {p.block.name: p.replacement for p in proposals if p.replacement is not None}
    trained = {block.name: block for block in blocks if block.name in replacements}
    plain = {
        name: copy.deepcopy(r).to(memory_format=torch.contiguous_format)
        for name, r in replacements.items()
    }
    last = [image.to(memory_format=torch.channels_last) for image in images]
    fused = fuse_batchnorm(chain, last[0][:2])
    loss = registry.find("loss", "nmse")
    return (
        Rig(fused, replacements, trained, last, loss, rank),
        Rig(chain, plain, trained, images, loss, rank),
    )


def _settle(network: nn.Module, images: Tensor) -> None:
    """Give random BatchNorms the statistics of a batch, so that activations keep their scale."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None
    with torch.no_grad():
        network.train()(images)


def _costs(rig: Rig, offset: int = 0) -> list[BlockCost]:
    return measure_costs(rig.chain, rig.replacements, rig.images[0], rig.loss, offset=offset)


def _in_turn(work: Callable[[], list[BlockCost]], rank: int) -> list[BlockCost]:
    """Let rank 0 work while the others wait; give its answer to all."""
    answer: list[Any] = [work() if rank == 0 else None]
    dist.broadcast_object_list(answer)
    found: list[BlockCost] = answer[0]
    return found


def procedure_schedules(
    registry: Registry,
    alone: Sequence[BlockCost],
    together: Sequence[BlockCost],
    workers: Sequence[Worker],
) -> dict[str, Schedule]:
    """Return each procedure's schedule; those for one worker leave the others idle."""
    idle: tuple[tuple[Job, ...], ...] = ((),) * (len(workers) - 1)
    names = [cost.name for cost in alone]
    by_block = tuple(Job((name,)) for name in names)

    def scheduled(name: str) -> Schedule:
        schedule: Schedule = registry.create("scheduler", {"name": name}).schedule(
            together, workers
        )
        return schedule

    return {
        "serial": Schedule((by_block, *idle)),
        "paper": scheduled("lpt-scheduler"),
        "single-pass": Schedule(((Job(tuple(names)),), *idle)),
        "pipeline": scheduled("pipeline"),
        "cache": scheduled("cached"),
        "serial-plain": Schedule((by_block, *idle)),
    }


def _filled(folder: Path, rank: int, rig: Rig, workers: int) -> ActivationCache:
    """Fill the cache, each rank its share of the batches."""
    rows = len(rig.images[0])
    share = [
        (slice(index * rows, (index + 1) * rows), rig.images[index])
        for index in range(rank, len(rig.images), workers)
    ]
    blocks = list(rig.blocks.values())
    spec = CacheSpec(folder, blocks, rows * len(rig.images))
    return open_cache(spec, rig.chain, share, rank=rank, workers=workers)
