"""The process group of a phase's workers."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from pbkd.execution.torchrun import meeting_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


__all__ = ["process_group"]

# A rank without a job waits as long as the phase takes; who hangs is told by its heartbeat.
_LONGEST_WAIT = timedelta(days=1)


@contextmanager
def process_group(device: torch.device, rank: int, size: int, name: str) -> Iterator[None]:
    """Join the group of all workers, which find each other by what torch's launchers set.

    `name` tells this group from others of the same start of all processes.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    store, _, _ = next(iter(rendezvous("env://")))
    dist.init_process_group(
        backend,
        store=dist.PrefixStore(meeting_key(name), store),  # type: ignore[attr-defined]
        rank=rank,
        world_size=size,
        timeout=_LONGEST_WAIT,
    )
    try:
        yield
        dist.barrier()  # a rank that leaves early would cut a link that another still reads
    finally:
        dist.destroy_process_group()
