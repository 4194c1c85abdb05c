"""Rendezvous of the processes that torchrun started: one coordinates, the others follow it.

The coordinator is worker 0, and the only process that sees the run folder. Each other process
connects to it, receives what it needs for a phase, and sends back what it writes.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.distributed.rendezvous import rendezvous as torch_rendezvous

from pbkd.core.plain_data import from_plain, to_plain
from pbkd.errors import WorkerError
from pbkd.execution.remote.address import choose_gloo_interface, own_address
from pbkd.execution.remote.coordinator import Coordinator
from pbkd.execution.remote.current import coordinating
from pbkd.execution.remote.follower import follow
from pbkd.execution.remote.handshake import Credentials, Peer, RefusedError
from pbkd.execution.remote.listener import Membership, connect, listen
from pbkd.execution.remote.messages import Lead, Listening, Message, Move, ProtocolError, Stay
from pbkd.execution.remote.secret import cluster_secret
from pbkd.execution.remote.tls import encryption
from pbkd.execution.torchrun import launch_name, on_one_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch.distributed import Store  # type: ignore[attr-defined]

    from pbkd.execution.remote.channel import Channel


__all__ = ["rendezvous"]

_TIMEOUT = 300.0  # seconds until all processes must have connected
_RETRY_SECONDS = 0.2
_LISTENING_KEY = "pbkd/listening"


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
        ConfigError: There is no secret, or no usable certificate.
        WorkerError: A process cannot be reached, or is none of this run.
    """
    one_machine = on_one_machine()
    credentials = Credentials(cluster_secret(create=one_machine), launch_name())
    membership = Membership(credentials, encryption(), silence=2 * _TIMEOUT)
    store, rank, world_size = next(iter(torch_rendezvous("env://")))
    address = own_address(os.environ["MASTER_ADDR"], one_machine=one_machine)
    choose_gloo_interface(address)
    process = _Process(rank, world_size, address, membership, folder is not None)
    connections = process.join_as_rank_zero(store) if rank == 0 else process.join(store)
    if not isinstance(connections, dict):
        follow(connections, patience)
        yield None
        return
    coordinator = Coordinator(connections, patience)
    try:
        with coordinating(coordinator):
            yield coordinator
    finally:
        coordinator.close()


@dataclass(frozen=True)
class _Process:
    """This process, when it joins the others."""

    rank: int
    world_size: int
    address: str
    membership: Membership
    has_folder: bool

    def join_as_rank_zero(self, store: Store) -> dict[int, Channel] | Channel:
        """Accept all others; then coordinate them, or follow the one that has the run folder.

        Returns:
            The connections by rank, or the connection to the coordinator.
        """
        with listen(self.address, self.membership, self.rank) as listener:
            store.set(_LISTENING_KEY, json.dumps(to_plain(Listening(*listener.address))))
            peers = listener.accept(self.world_size, _TIMEOUT)
        others = {rank: channel for rank, (channel, _) in peers.items()}
        holders = [rank for rank, (_, peer) in sorted(peers.items()) if peer.has_folder]
        if self.has_folder or not holders:
            for channel in others.values():
                _send(channel, Stay())
            return others
        leader = others.pop(holders[0])
        _send(leader, Lead())
        listening = _receive(leader)
        if not isinstance(listening, Listening):
            raise _unexpected()
        for channel in others.values():
            _send(channel, Move(holders[0], listening))
        return self._connect(listening, holders[0])

    def join(self, store: Store) -> dict[int, Channel] | Channel:
        """Connect to rank 0 and do as it says: follow it or another process, or coordinate.

        Returns:
            The connections by rank, or the connection to the coordinator.
        """
        channel = self._connect_to_rank_zero(store)
        instruction = _receive(channel)
        if isinstance(instruction, Stay):
            return channel
        if isinstance(instruction, Move):
            return self._connect(instruction.listening, instruction.rank)
        if not isinstance(instruction, Lead):
            raise _unexpected()
        with listen(self.address, self.membership, self.rank) as listener:
            _send(channel, Listening(*listener.address))
            peers = listener.accept(self.world_size, _TIMEOUT)
        return {rank: other for rank, (other, _) in peers.items()}

    def _connect(self, listening: Listening, to: int) -> Channel:
        """Connect to another process, in whose count of ranks it is rank 0 itself."""
        peer = Peer((self.rank - to) % self.world_size, to, self.has_folder)
        return connect(listening, self.membership, peer)

    def _connect_to_rank_zero(self, store: Store) -> Channel:
        """Connect to rank 0; retry, since the store may hold the address of an earlier start."""
        end = time.monotonic() + _TIMEOUT
        while True:
            try:
                return self._connect(_listening(store), 0)
            except RefusedError:
                raise
            except WorkerError:
                if time.monotonic() > end:
                    raise
                time.sleep(_RETRY_SECONDS)


def _listening(store: Store) -> Listening:
    """Read from torch's store where rank 0 listens; anybody may have written it."""
    try:
        listening: Listening = from_plain(Listening, json.loads(store.get(_LISTENING_KEY)))
    except (ValueError, RecursionError, RuntimeError) as error:
        raise WorkerError(
            "torchrun's store does not say where the process with rank 0 listens: check that only"
            " the machines of this run reach it."
        ) from error
    return listening


def _send(channel: Channel, message: Message) -> None:
    try:
        channel.send(message)
    except OSError as error:
        raise _lost() from error


def _receive(channel: Channel) -> Message:
    try:
        message, _ = channel.receive()
    except ProtocolError as error:
        raise WorkerError(f"another process of this run was lost: {error}.") from error
    except (OSError, EOFError) as error:
        raise _lost() from error
    return message


def _lost() -> WorkerError:
    return WorkerError("another process of this run ended before all had connected: see its error.")


def _unexpected() -> WorkerError:
    return WorkerError("another process of this run sent an instruction that has no place here.")
