"""Measurements of a benchmark's ranks: mean costs, bandwidth, peak memory."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.training.exchange import exchange_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.blocks import BlockCost


__all__ = ["link_rate", "mean_costs", "peak_memory", "reset_peak_memory"]

_MESSAGE_FLOATS = 4_000_000
_MESSAGES = 5
_SECONDS = (
    "prefix_seconds",
    "teacher_seconds",
    "train_seconds",
    "overhead_seconds",
    "read_seconds",
)


def mean_costs(costs: Sequence[BlockCost], device: torch.device) -> list[BlockCost]:
    """Return the mean of all ranks' costs, measured while all ranks were busy."""
    seconds = torch.tensor(
        [[getattr(cost, field) for field in _SECONDS] for cost in costs],
        dtype=torch.float64,
        device=exchange_device(device),
    )
    dist.all_reduce(seconds)
    seconds /= dist.get_world_size()
    return [
        replace(cost, **dict(zip(_SECONDS, row, strict=True)))
        for cost, row in zip(costs, seconds.tolist(), strict=True)
    ]


def link_rate(rank: int, device: torch.device) -> float:
    """Measure the bandwidth from rank 0 to rank 1, in bytes/s; all ranks get the same figure."""
    if dist.get_world_size() == 1:
        return math.inf
    device = exchange_device(device)
    message = torch.zeros(_MESSAGE_FLOATS, device=device)
    start = 0.0
    for index in range(_MESSAGES + 1):
        if index == 1:  # the first message opens the connection
            start = time.perf_counter()
        if rank == 0:
            dist.send(message, 1)
        elif rank == 1:
            dist.recv(message, 0)
    rate = torch.tensor([_MESSAGES * message.nbytes / (time.perf_counter() - start)], device=device)
    dist.broadcast(rate, 1)
    return float(rate)


_PROCESS = Path("/proc/self")


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak memory; no effect on systems without it (proc(5), clear_refs)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes, on a GPU torch's there; None on systems without it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        match = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    except OSError:
        return None
    return int(match.group(1)) * 1024 if match else None
