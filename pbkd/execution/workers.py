"""The workers of a run: their number, devices and threads, and their launcher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from pbkd.core.schedule import Worker
from pbkd.execution.torchrun import under_torchrun

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Launcher


__all__ = ["divide_resources", "launcher_of", "local_workers", "possible_workers"]


def launcher_of(config: RunConfig, registry: Registry) -> Launcher:
    """Create the configured launcher; `local` means `torchrun` in a process of torchrun."""
    local = config.launcher["name"] == "local"
    choice = {"name": "torchrun"} if local and under_torchrun() else config.launcher
    launcher: Launcher = registry.create("launcher", choice)
    return launcher


def possible_workers(config: RunConfig, device: str) -> list[tuple[Worker, ...]]:
    """Return the configured workers, or for `workers=auto` the groups to choose from.

    The groups have one worker, two, four … up to one per accelerator, or, without any, up to one
    per `threads` cores.

    Args:
        config: The run's configuration.
        device: The device type, such as `cpu` or `cuda`.
    """
    if isinstance(config.workers, int):
        return [local_workers(config.workers, config.threads, device)]
    most = _device_count(device) or max(1, _core_count() // (config.threads or 1))
    counts = {2**power for power in range(most.bit_length())} | {most}
    return [local_workers(count, config.threads, device) for count in sorted(counts)]


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
        Worker(rank, f"{device}:{rank % devices}" if devices else device, share)
        for rank in range(count)
    )


def divide_resources(config: RunConfig, cpus: int, gpus: int) -> tuple[int, int, bool]:
    """Divide the resources of a cluster among the workers of a run.

    Args:
        config: The run's configuration; `workers=auto` takes every GPU, or, without any, the CPUs
            in shares of `threads`.
        cpus: The cluster's CPUs.
        gpus: The cluster's GPUs.

    Returns:
        The number of workers, the CPUs of each, and whether each has a GPU.
    """
    use_gpus = gpus > 0 and config.device != "cpu"
    count = config.workers
    if not isinstance(count, int):
        count = gpus if use_gpus else max(1, cpus // (config.threads or 1))
    return count, config.threads or max(1, cpus // count), use_gpus


def _device_count(device: str) -> int:
    return torch.accelerator.device_count() if device != "cpu" else 0


def _core_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
