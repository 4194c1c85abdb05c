"""The workers of a run: number, devices, threads, and the launcher that starts them."""

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


__all__ = ["launcher_of", "local_workers", "possible_workers"]


def launcher_of(config: RunConfig, registry: Registry) -> Launcher:
    """Return the launcher that was asked for; instead of `local` the one for torchrun, under it."""
    local = config.launcher["name"] == "local"
    choice = {"name": "torchrun"} if local and under_torchrun() else config.launcher
    launcher: Launcher = registry.create("launcher", choice)
    return launcher


def possible_workers(config: RunConfig, device: str) -> list[tuple[Worker, ...]]:
    """Return the workers of the configuration; for `workers=auto` the groups to choose from.

    These are one worker, two, four … up to one for each accelerator, or, without any, up to one
    for as many cores as `threads` takes.
    """
    if isinstance(config.workers, int):
        return [local_workers(config.workers, config.threads, device)]
    most = _devices(device) or max(1, _cores() // (config.threads or 1))
    counts = {2**power for power in range(most.bit_length())} | {most}
    return [local_workers(count, config.threads, device) for count in sorted(counts)]


def local_workers(count: int, threads: int | None, device: str) -> tuple[Worker, ...]:
    """Return so many workers on this machine: devices in turn, cores in equal shares."""
    share = threads or max(1, _cores() // count)
    devices = _devices(device)
    return tuple(
        Worker(rank, f"{device}:{rank % devices}" if devices else device, share)
        for rank in range(count)
    )


def _devices(device: str) -> int:
    return torch.accelerator.device_count() if device != "cpu" else 0


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
