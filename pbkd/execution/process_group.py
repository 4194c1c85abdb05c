"""The process group of a phase's workers."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist

from pbkd.execution.store import open_store
from pbkd.execution.torchrun import store_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


__all__ = ["process_group"]

# A rank without a job waits as long as the phase takes; heartbeats detect one that hangs.
_TIMEOUT = timedelta(days=1)


@contextmanager
def process_group(device: torch.device, rank: int, size: int, name: str) -> Iterator[None]:
    """Initialise torch's process group of all workers, and destroy it after a barrier.

    Args:
        device: This worker's device: NCCL is used on CUDA, gloo elsewhere.
        rank: This worker's rank.
        size: Number of workers.
        name: Key of the group, unique within one launch.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.PrefixStore(store_key(name), open_store())  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
    try:
        yield
        dist.barrier()  # a rank that leaves early would cut a link that another still reads
    finally:
        dist.destroy_process_group()
