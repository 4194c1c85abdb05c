"""The process group of a phase's workers, each of which proves to the others who it is."""

from __future__ import annotations

import hmac
import itertools
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from pbkd.errors import WorkerError
from pbkd.execution.store import open_store, read_key
from pbkd.execution.torchrun import store_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor
    from torch.distributed import Store  # type: ignore[attr-defined]

    from pbkd.training.relay import CreateGroup


__all__ = ["process_group"]

# A rank without a job waits as long as the phase takes; heartbeats detect one that hangs.
_TIMEOUT = timedelta(days=1)
_PROOF_BYTES = 32
_ATTEMPTS = 20


@contextmanager
def process_group(device: torch.device, rank: int, size: int, name: str) -> Iterator[CreateGroup]:
    """Initialise torch's process group of all workers, and destroy it after a barrier.

    Args:
        device: This worker's device. NCCL is used if every worker has a GPU of its own, else gloo:
            NCCL refuses two processes on one GPU.
        rank: This worker's rank.
        size: Number of workers.
        name: Key of the group, unique within one launch.

    Yields:
        A function that creates a group of some of the workers. All of them must call it, with the
        same ranks and in the same order.

    Raises:
        WorkerError: Other programs take the connections between the workers.
    """
    store = open_store()  # held: a TCPStore's server ends with the last store of its process
    backend = _backend(device, rank, size, dist.PrefixStore(f"{store_key(name)}/gpus", store))  # type: ignore[attr-defined]

    def initialise(store: Store) -> dist.ProcessGroup:
        if dist.is_initialized():  # an earlier attempt
            dist.destroy_process_group()
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
        assert dist.group.WORLD is not None, "it was created in the line above"
        return dist.group.WORLD

    try:
        _connect(initialise, store_key(name), range(size), rank)
        names = (f"{store_key(name)}/{number}" for number in itertools.count())
        yield partial(_create_group, names, rank)
        dist.barrier()  # a rank that leaves early would cut a link that another still reads
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _backend(device: torch.device, rank: int, size: int, store: Store) -> str:
    """Let all workers tell each other their GPU, and choose the same backend."""
    store.set_timeout(_TIMEOUT)
    store.set(str(rank), _gpu(device))
    gpus = {store.get(str(peer)) for peer in range(size)}
    return "nccl" if len(gpus) == size and b"" not in gpus else "gloo"


def _gpu(device: torch.device) -> str:
    """Return what tells a GPU apart from all others, on any machine; empty without one."""
    if device.type != "cuda" or not dist.is_nccl_available():
        return ""
    return str(torch.cuda.get_device_properties(device).uuid)


def _create_group(
    names: Iterator[str], rank: int, ranks: Sequence[int]
) -> dist.ProcessGroup | None:
    """Create the group of `ranks`; None in a worker outside of it."""
    name = next(names)
    if rank not in ranks:
        return None

    def create(_store: Store) -> dist.ProcessGroup:
        group = dist.new_group(list(ranks), timeout=_TIMEOUT, use_local_synchronization=True)
        assert isinstance(group, dist.ProcessGroup), "this worker is in the group"
        return group

    return _connect(create, name, ranks, rank)


def _connect(
    create: Callable[[Store], dist.ProcessGroup], name: str, ranks: Sequence[int], rank: int
) -> dist.ProcessGroup:
    """Create a group; create it again if one of its connections leads to a stranger.

    While gloo connects, any program on the machine may connect to a worker in another's place.
    """
    for attempt in range(_ATTEMPTS):
        label = f"{name}/{attempt}"
        store = dist.PrefixStore(label, open_store())  # type: ignore[attr-defined]
        store.set_timeout(_TIMEOUT)
        group = create(store)
        proven = dist.get_backend(group) != "gloo" or _prove(
            group, ranks, rank, label, timedelta(seconds=2 + attempt)
        )
        store.set(f"proven/{rank}", str(proven))
        if all(store.get(f"proven/{peer}") == b"True" for peer in ranks):
            return group
    raise WorkerError(
        "another program on this machine took the connections between the workers"
        f" {_ATTEMPTS} times: find out which one does, with `ss -tp`."
    )


def _prove(
    group: dist.ProcessGroup, ranks: Sequence[int], rank: int, label: str, timeout: timedelta
) -> bool:
    """Exchange proofs with all others of a group; return whether theirs are right."""
    key = read_key()

    def proof(sender: int, receiver: int) -> Tensor:
        digest = hmac.digest(key, f"{label}: {sender} to {receiver}".encode(), "sha256")
        return torch.frombuffer(bytearray(digest), dtype=torch.uint8)

    peers = [peer for peer in ranks if peer != rank]
    received = {peer: torch.zeros(_PROOF_BYTES, dtype=torch.uint8) for peer in peers}
    try:
        works = [dist.irecv(received[peer], peer, group) for peer in peers]
        works += [dist.isend(proof(rank, peer), peer, group) for peer in peers]
        for work in works:
            assert work is not None, "this worker is in the group"
            work.wait(timeout)
    except RuntimeError:
        return False
    return all(torch.equal(received[peer], proof(peer, rank)) for peer in peers)
