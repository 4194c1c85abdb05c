"""Rendezvous of the processes that torchrun started: one coordinates, the others follow it.

The coordinator is worker 0, and the only process that sees the run folder. Each other process
connects to it, receives what it needs for a phase, and sends back what it writes.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import socket
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from typing import TYPE_CHECKING, NamedTuple

import psutil
from torch.distributed.rendezvous import rendezvous as torch_rendezvous

from pbkd.errors import WorkerError, one_line
from pbkd.execution.remote.coordinator import Coordinator
from pbkd.execution.remote.follower import follow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from torch.distributed import Store  # type: ignore[attr-defined]


__all__ = ["current_coordinator", "rendezvous"]

_TIMEOUT = 300.0  # seconds until all processes must have connected
_BACKLOG = 1024
_ENDPOINT_KEY = "pbkd/endpoint"
_active: list[Coordinator] = []


def current_coordinator() -> Coordinator:
    """Return the coordinator that this process is.

    Raises:
        WorkerError: This process was not started by torchrun, or follows another one.
    """
    if not _active:
        raise WorkerError(
            "the launcher 'torchrun' works in processes that torchrun started: run `torchrun"
            " --nproc-per-node=2 -m pbkd run …`, or say launcher=local."
        )
    return _active[-1]


class _Endpoint(NamedTuple):
    """Address on which a process accepts its peers, and their shared secret."""

    address: str
    port: int
    key: str


@contextmanager
def rendezvous(folder: Path | None, patience: float = 60.0) -> Iterator[Coordinator | None]:
    """Connect all processes of torchrun; each of them must call this.

    The coordinator is the first process that has a `folder`, or else rank 0. A process exits if a
    peer is silent for `patience` seconds.

    Args:
        folder: The run folder to resume, if this machine has it.
        patience: Maximum silence of a peer, in seconds.

    Yields:
        The `Coordinator` in its own process. In every other process None, once the coordinator's
        context has ended and all work is done.

    Raises:
        WorkerError: A process cannot be reached.
    """
    store, rank, world_size = next(iter(torch_rendezvous("env://")))
    _choose_gloo_interface(os.environ["MASTER_ADDR"])
    coordinator = (
        _join_as_rank_zero(store, world_size, folder, patience)
        if rank == 0
        else _join(store, rank, world_size, folder, patience)
    )
    if coordinator is None:
        yield None
        return
    _active.append(coordinator)
    try:
        yield coordinator
    finally:
        _active.remove(coordinator)
        coordinator.close()


def _join_as_rank_zero(
    store: Store, world_size: int, folder: Path | None, patience: float
) -> Coordinator | None:
    """Accept all others; coordinate them, or follow the process that has the run folder."""
    with _open_endpoint() as (listener, endpoint):
        store.set(_ENDPOINT_KEY, json.dumps(endpoint))
        peers = _accept_peers(listener, endpoint, world_size)
    folder_ranks = [rank for rank, (_, has_folder) in sorted(peers.items()) if has_folder]
    if folder or not folder_ranks:
        for connection, _ in peers.values():
            connection.send(("stay", None))
        return Coordinator({rank: connection for rank, (connection, _) in peers.items()}, patience)
    leader_rank = folder_ranks[0]
    leader, _ = peers.pop(leader_rank)
    leader.send(("lead", None))
    endpoint = leader.recv()
    for connection, _ in peers.values():
        connection.send(("move", (leader_rank, endpoint)))
    follow(_connect(endpoint, (world_size - leader_rank, False)), patience)
    return None


def _join(
    store: Store, rank: int, world_size: int, folder: Path | None, patience: float
) -> Coordinator | None:
    """Connect to rank 0 and do as it says: follow it or another process, or coordinate."""
    connection = _connect_to_rank_zero(store, (rank, folder is not None))
    instruction, target = connection.recv()
    if instruction == "lead":
        with _open_endpoint() as (listener, endpoint):
            connection.send(endpoint)
            peers = _accept_peers(listener, endpoint, world_size)
        return Coordinator({other: peer for other, (peer, _) in peers.items()}, patience)
    if instruction == "move":
        leader_rank, endpoint = target
        connection = _connect(endpoint, ((rank - leader_rank) % world_size, False))
    follow(connection, patience)
    return None


@contextmanager
def _open_endpoint() -> Iterator[tuple[Listener, _Endpoint]]:
    """Listen on a free port."""
    key = secrets.token_hex(32)
    master = os.environ["MASTER_ADDR"]
    with Listener(("", 0), backlog=_BACKLOG, authkey=key.encode()) as listener:
        address = _address_towards(master)
        # If this machine is the master itself, only the master's address reaches it from others.
        if ipaddress.ip_address(address).is_loopback:
            address = master
        yield listener, _Endpoint(address, listener.address[1], key)


def _accept_peers(
    listener: Listener, endpoint: _Endpoint, world_size: int
) -> dict[int, tuple[Connection, bool]]:
    """Wait for all others; return by rank the connection, and whether the peer has a folder."""
    peers: dict[int, tuple[Connection, bool]] = {}
    timed_out = threading.Event()

    def accept() -> None:
        while len(peers) < world_size - 1 and not timed_out.is_set():
            try:
                connection = listener.accept()
                rank, has_folder = connection.recv()
                peers[rank] = connection, has_folder
            except Exception:  # a stranger's connection, or one that broke
                continue

    thread = threading.Thread(target=accept, name="pbkd-accept", daemon=True)
    thread.start()
    thread.join(_TIMEOUT)
    if thread.is_alive():
        timed_out.set()
        with suppress(OSError), socket.create_connection(("localhost", endpoint.port)):
            pass  # wakes the thread
        raise WorkerError(
            f"{world_size - 1 - len(peers)} of {world_size} processes did not connect to"
            f" {endpoint.address}:{endpoint.port} within {_TIMEOUT:.0f} seconds: check that a"
            " firewall does not block that address."
        )
    return peers


def _connect_to_rank_zero(store: Store, greeting: tuple[int, bool]) -> Connection:
    """Connect to rank 0; retry, since the store may hold the endpoint of an earlier start."""
    end = time.monotonic() + _TIMEOUT
    while True:
        try:
            return _connect(_Endpoint(*json.loads(store.get(_ENDPOINT_KEY))), greeting)
        except WorkerError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _connect(endpoint: _Endpoint, greeting: tuple[int, bool]) -> Connection:
    try:
        connection = Client((endpoint.address, endpoint.port), authkey=endpoint.key.encode())
        connection.send(greeting)
    except (OSError, EOFError, AuthenticationError) as error:
        raise WorkerError(
            f"{socket.gethostname()} cannot connect to the run's coordinator at"
            f" {endpoint.address}:{endpoint.port} ({one_line(error)}): check that a firewall does"
            " not block that address."
        ) from error
    return connection


def _address_towards(host: str) -> str:
    """Return the address of this machine on the route to another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        return str(probe.getsockname()[0])


def _choose_gloo_interface(master: str) -> None:
    """Have torch's gloo use the interface on the route to the master, unless the user chose one.

    Gloo would resolve this machine's own name, which means the loopback interface on many.
    """
    address = _address_towards(master)
    for interface, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            return
