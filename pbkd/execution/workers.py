"""The workers of a run: their number, devices and threads, and their launcher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from pbkd.core.schedule import Worker
from pbkd.execution.torchrun import under_torchrun
from pbkd.training.board_setup import can_share_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.execution.worker_request import WorkerRequest
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Launcher


__all__ = [
    "create_launcher",
    "describe_shared_devices",
    "divide_resources",
    "local_workers",
    "own_threads",
    "possible_workers",
]


def create_launcher(registry: Registry, choice: Mapping[str, Any]) -> Launcher:
    """Create the launcher that is configured; `torchrun` in the place of `local` under torchrun.

    Args:
        registry: Where launchers are registered.
        choice: The configuration's `launcher`.

    Returns:
        The launcher.
    """
    local = choice["name"] == "local"
    launcher: Launcher = registry.create(
        "launcher", {"name": "torchrun"} if local and under_torchrun() else choice
    )
    return launcher


def possible_workers(
    workers: int | str, threads: int | None, device: str
) -> list[tuple[Worker, ...]]:
    """List the worker groups to choose from on this machine.

    Args:
        workers: A number, or `auto`: one worker, two, four, … up to one per accelerator, or,
            without accelerators, up to one per `threads` cores.
        threads: CPU threads of each worker; None for an equal share of the cores.
        device: The type of device.

    Returns:
        One group for a number, several for `auto`.
    """
    if isinstance(workers, int):
        return [local_workers(workers, threads, device)]
    most = _device_count(device) or max(1, _core_count() // (threads or 1))
    counts = {2**power for power in range(most.bit_length())} | {most}
    return [local_workers(count, threads, device) for count in sorted(counts)]


def local_workers(count: int, threads: int | None, device: str) -> tuple[Worker, ...]:
    """Return workers of this machine: devices round-robin, cores in equal shares.

    Args:
        count: Number of workers.
        threads: CPU threads per worker; None divides the cores equally.
        device: The device type, such as `cpu` or `cuda`.
    """
    share = threads or max(1, _core_count() // count)
    devices = _device_count(device)
    return tuple(
        Worker(
            rank,
            f"{device}:{rank % devices}" if devices else device,
            share,
            shares_memory=can_share_memory(device),
        )
        for rank in range(count)
    )


def own_threads(workers: int | str, threads: int | None) -> int:
    """Return how many CPU threads a run uses in its main process: no more than in its workers.

    Args:
        workers: The number of workers, or `auto`.
        threads: CPU threads of each worker; None for an equal share of the cores.

    Returns:
        What torch has now, or less.
    """
    most = torch.get_num_threads()
    return min(most, workers * threads) if threads and isinstance(workers, int) else most


def describe_shared_devices(workers: Sequence[Worker]) -> list[str]:
    """Note which of this machine's workers compute on the same accelerator, a sentence for each."""
    sharing: dict[str, list[str]] = {}
    for worker in workers:
        if worker.device != "cpu" and not worker.node:
            sharing.setdefault(worker.device, []).append(str(worker.rank))
    return [
        f"Workers {', '.join(ranks[:-1])} and {ranks[-1]} share {device}: they take turns on it,"
        " and exchange activations and gradients through the CPU (gloo), since NCCL refuses two"
        " processes on one GPU."
        for device, ranks in sharing.items()
        if len(ranks) > 1
    ]


def divide_resources(request: WorkerRequest, cpus: int, gpus: int) -> tuple[int, int, bool]:
    """Divide the resources of a cluster among the workers of a run.

    Args:
        request: The workers that the run asks for; `auto` takes every GPU, or, without any, the
            CPUs in shares of `threads`.
        cpus: The cluster's CPUs.
        gpus: The cluster's GPUs.

    Returns:
        The number of workers, the CPUs of each, and whether each has a GPU.
    """
    use_gpus = gpus > 0 and request.device != "cpu"
    count = request.workers
    if not isinstance(count, int):
        count = gpus if use_gpus else max(1, cpus // (request.threads or 1))
    return count, request.threads or max(1, cpus // count), use_gpus


def _device_count(device: str) -> int:
    return torch.accelerator.device_count() if device != "cpu" else 0


def _core_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
