"""The crew of a run: how many workers, on which devices, with how many threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from pbkd.plan import Worker

if TYPE_CHECKING:
    from pbkd.config import RunConfig

__all__ = ["crew"]


def crew(config: RunConfig, device: str) -> tuple[Worker, ...]:
    """Return the workers on this machine: devices in turn, cores in equal shares."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = config.threads or max(1, (cores or 1) // config.workers)
    devices = torch.accelerator.device_count() if device != "cpu" else 0
    return tuple(
        Worker(rank, f"{device}:{rank % devices}" if devices else device, threads)
        for rank in range(config.workers)
    )
