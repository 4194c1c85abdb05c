"""Processes that torchrun started come together: one is the run's host, the others work for it.

The host is worker 0; it alone sees the run folder. Every other one connects to it, and is sent what
it needs for a phase; what it writes comes back as it appears.
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
from torch.distributed.rendezvous import rendezvous

from pbkd.errors import WorkerError, one_line
from pbkd.execution.remote.coordinator import Coordinator
from pbkd.execution.remote.follower import follow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from torch.distributed import Store  # type: ignore[attr-defined]


__all__ = ["meet", "met"]

_ARRIVAL = 300.0  # seconds until everyone must have come
_BACKLOG = 1024
_here: list[Coordinator] = []


def met() -> Coordinator:
    """Return the host that this process is; raises `WorkerError` outside of a meeting."""
    if not _here:
        raise WorkerError(
            "the launcher 'torchrun' works in processes that torchrun started: run `torchrun"
            " --nproc-per-node=2 -m pbkd run …`, or say launcher=local."
        )
    return _here[-1]


class _Place(NamedTuple):
    """Where a process waits for the others, and the secret that they know it by."""

    address: str
    port: int
    key: str


@contextmanager
def meet(folder: Path | None, patience: float = 60.0) -> Iterator[Coordinator | None]:
    """Bring all processes of torchrun together; each must call this.

    The host is the first that has a `folder` to go on with, or else that of rank 0; in it the
    context gives the `Coordinator`. In every other process the context begins when the host's has
    ended, and gives None: all its work is then done. A process exits if a peer is silent for
    `patience` seconds.
    """
    store, rank, world = next(iter(rendezvous("env://")))
    _use_route(os.environ["MASTER_ADDR"])
    host = (
        _first(store, world, folder, patience)
        if rank == 0
        else _other(store, rank, world, folder, patience)
    )
    if host is None:
        yield None
        return
    _here.append(host)
    try:
        yield host
    finally:
        _here.remove(host)
        host.close()


def _first(store: Store, world: int, folder: Path | None, patience: float) -> Coordinator | None:
    """Receive all others as rank 0; be the host, or have the one that holds the folder be it."""
    with _door() as (listener, place):
        store.set("pbkd/door", json.dumps(place))
        arrived = _received(listener, place, world)
    holders = [other for other, (_, holds) in sorted(arrived.items()) if holds]
    if folder or not holders:
        for connection, _ in arrived.values():
            connection.send(("stay", None))
        return Coordinator(
            {other: connection for other, (connection, _) in arrived.items()}, patience
        )
    number = holders[0]
    leader, _ = arrived.pop(number)
    leader.send(("lead", None))
    place = leader.recv()
    for connection, _ in arrived.values():
        connection.send(("go", (number, place)))
    follow(_connected(place, (world - number, False)), patience)
    return None


def _other(
    store: Store, rank: int, world: int, folder: Path | None, patience: float
) -> Coordinator | None:
    """Report to rank 0 and do as it says: work for it or for another, or be the host."""
    connection = _arrived(store, (rank, folder is not None))
    what, elsewhere = connection.recv()
    if what == "lead":
        with _door() as (listener, place):
            connection.send(place)
            arrived = _received(listener, place, world)
        return Coordinator({other: found for other, (found, _) in arrived.items()}, patience)
    if what == "go":
        leader, place = elsewhere
        connection = _connected(place, ((rank - leader) % world, False))
    follow(connection, patience)
    return None


@contextmanager
def _door() -> Iterator[tuple[Listener, _Place]]:
    """Open a port for the others."""
    key = secrets.token_hex(32)
    master = os.environ["MASTER_ADDR"]
    with Listener(("", 0), backlog=_BACKLOG, authkey=key.encode()) as listener:
        own = _address_towards(master)
        # Others may not reach a name that means this very machine: where this process is on the
        # master's machine, they know its address.
        address = master if ipaddress.ip_address(own).is_loopback else own
        yield listener, _Place(address, listener.address[1], key)


def _received(listener: Listener, place: _Place, world: int) -> dict[int, tuple[Connection, bool]]:
    """Wait for all others; return their connections by number, and whether they hold a folder."""
    arrived: dict[int, tuple[Connection, bool]] = {}
    over = threading.Event()

    def accept() -> None:
        while len(arrived) < world - 1 and not over.is_set():
            try:
                connection = listener.accept()
                number, holds = connection.recv()
                arrived[number] = connection, holds
            except Exception:  # someone else's connection, or one that broke
                continue

    thread = threading.Thread(target=accept, name="pbkd-arrivals", daemon=True)
    thread.start()
    thread.join(_ARRIVAL)
    if thread.is_alive():
        over.set()
        with suppress(OSError), socket.create_connection(("localhost", place.port)):
            pass  # the thread waits for one more
        raise WorkerError(
            f"of {world} processes {world - 1 - len(arrived)} did not reach"
            f" {place.address}:{place.port} within {_ARRIVAL:.0f} seconds: may they connect to it?"
        )
    return arrived


def _arrived(store: Store, greeting: tuple[int, bool]) -> Connection:
    """Connect to rank 0, whose door may still be that of an earlier start of all processes."""
    end = time.monotonic() + _ARRIVAL
    while True:
        try:
            return _connected(_Place(*json.loads(store.get("pbkd/door"))), greeting)
        except WorkerError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _connected(place: _Place, greeting: tuple[int, bool]) -> Connection:
    try:
        connection = Client((place.address, place.port), authkey=place.key.encode())
        connection.send(greeting)
    except (OSError, EOFError, AuthenticationError) as error:
        raise WorkerError(
            f"{socket.gethostname()} cannot connect to the run's host at {place.address}:"
            f"{place.port} ({one_line(error)}): may it?"
        ) from error
    return connection


def _address_towards(name: str) -> str:
    """Return the address by which this machine reaches another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((name, 9))  # nothing is sent
        return str(probe.getsockname()[0])


def _use_route(master: str) -> None:
    """Have torch's gloo talk over the interface that leads to the master, unless it was told.

    It would look up this machine's own name, which means the loopback on many.
    """
    own = _address_towards(master)
    for interface, addresses in psutil.net_if_addrs().items():
        if any(address.address == own for address in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
            return
