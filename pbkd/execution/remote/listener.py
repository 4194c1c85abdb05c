"""Connections between the processes of a run: one accepts, the others connect to it."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbkd.errors import WorkerError, one_line
from pbkd.execution.remote.handshake import Credentials, Peer, RefusedError, greet, welcome
from pbkd.execution.remote.messages import ProtocolError
from pbkd.execution.remote.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.execution.remote.channel import Channel
    from pbkd.execution.remote.messages import Listening
    from pbkd.execution.remote.tls import Encryption


__all__ = ["Listener", "Membership", "connect", "listen"]

_BACKLOG = 1024
_HANDSHAKE_SECONDS = 15.0
_MAX_STRANGERS = 128  # connections that may be in their handshake at a time, besides members
_MAX_REASONS = 16  # different reasons of refusals that are kept, to be reported
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Membership:
    """How a process shows that it belongs to a run, and how it encrypts.

    Attributes:
        credentials: The secret and the launch.
        encryption: The user's certificate, if any.
        silence: Maximum seconds without a byte on a connection.
    """

    credentials: Credentials
    encryption: Encryption | None
    silence: float

    def encrypt(self, stream: Stream, *, accepting: bool) -> Credentials:
        """Encrypt a new connection if there is a certificate.

        Returns:
            The credentials, with the accepting side's certificate.
        """
        if self.encryption is None:
            return self.credentials
        if accepting:
            stream.encrypt(self.encryption.accepting, accepting=True)
            return replace(self.credentials, certificate=self.encryption.certificate)
        certificate = stream.encrypt(self.encryption.connecting, accepting=False)
        return replace(self.credentials, certificate=certificate or b"")


@contextmanager
def listen(address: str, membership: Membership, rank: int) -> Iterator[Listener]:
    """Listen on a free port of one address of this machine.

    Args:
        address: The address; no other is listened at.
        membership: What those who connect must show.
        rank: The rank of this process.

    Yields:
        The listener, whose `accept` waits for the others.

    Raises:
        WorkerError: The address is not one of this machine.
    """
    try:
        server = socket.create_server((address, 0), backlog=_BACKLOG)
    except OSError as error:
        raise WorkerError(
            f"{socket.gethostname()} cannot accept connections at {address} ({error.strerror}): set"
            " GLOO_SOCKET_IFNAME to the network interface that the machines of the run share."
        ) from error
    with server:
        yield Listener(server, membership, rank)


class Listener:
    """Accepts the other processes of a run, each handshake in a thread of its own.

    A connection that says nothing, or too slowly, delays no other, and ends after
    `_HANDSHAKE_SECONDS`; if there are too many of them, the oldest ends.
    """

    def __init__(self, server: socket.socket, membership: Membership, rank: int) -> None:
        """Use a socket that listens."""
        self._server = server
        self._membership = membership
        self._rank = rank
        self._peers: dict[int, tuple[Channel, Peer] | None] = {}  # None: rank not here yet
        self._strangers: deque[Stream] = deque()
        self._refusals: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._stopped = threading.Event()

    @property
    def address(self) -> tuple[str, int]:
        """Address and port at which it listens."""
        host, port = self._server.getsockname()[:2]
        return host, port

    def accept(self, world_size: int, timeout: float) -> dict[int, tuple[Channel, Peer]]:
        """Wait for the ranks 1 to `world_size - 1`.

        Args:
            world_size: Number of all processes.
            timeout: Seconds until all must have connected.

        Returns:
            By rank the connection, and what the peer said about itself.

        Raises:
            WorkerError: Some did not connect.
        """
        self._peers = dict.fromkeys(range(1, world_size))
        threading.Thread(target=self._accept_all, name="pbkd-accept", daemon=True).start()
        with self._changed:
            complete = self._changed.wait_for(lambda: all(self._peers.values()), timeout)
            self._stopped.set()
            if not complete:
                raise WorkerError(self._complaint(world_size, timeout))
            return {rank: peer for rank, peer in self._peers.items() if peer}

    def _complaint(self, world_size: int, timeout: float) -> str:
        missing = sum(peer is None for peer in self._peers.values())
        host, port = self.address
        refused = "; ".join(f"{why} ({count} times)" for why, count in self._refusals.items())
        return (
            f"{missing} of {world_size} processes did not connect to {host}:{port} within"
            f" {timeout:.0f} seconds: check that no firewall blocks that address, and that"
            " it is on the network that the machines share (GLOO_SOCKET_IFNAME chooses it)"
            + (f", and why connections were refused: {refused}." if refused else ".")
        )

    def _accept_all(self) -> None:
        self._server.settimeout(_POLL_SECONDS)
        while not self._stopped.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                self._stopped.wait(_POLL_SECONDS)  # no descriptor is left, until strangers end
                continue
            stream = Stream(connection, self._membership.silence)
            self._admit(stream)
            threading.Thread(
                target=self._welcome, args=[stream], name="pbkd-welcome", daemon=True
            ).start()
        with self._changed:
            for stream in self._strangers:
                stream.close()

    def _admit(self, stream: Stream) -> None:
        """Count a connection among the strangers; if there are too many, the oldest ends."""
        stream.deadline = time.monotonic() + _HANDSHAKE_SECONDS
        with self._changed:
            self._strangers.append(stream)
            if len(self._strangers) > _MAX_STRANGERS + len(self._peers):
                self._strangers.popleft().close()

    def _welcome(self, stream: Stream) -> None:
        """Let one process in, or end its connection."""
        try:
            credentials = self._membership.encrypt(stream, accepting=True)
            peer, channel = welcome(stream, credentials, self._is_expected)
            self._let_in(peer, channel)
        except Exception as error:  # of any stranger; it must not keep the others out
            stream.release()
            self._note(error)
        finally:
            with self._changed, suppress(ValueError):
                self._strangers.remove(stream)

    def _is_expected(self, peer: Peer) -> bool:
        return peer.to == self._rank and peer.rank in self._peers and not self._peers[peer.rank]

    def _let_in(self, peer: Peer, channel: Channel) -> None:
        with self._changed:
            if self._stopped.is_set() or not self._is_expected(peer):
                raise RefusedError("another process has its rank")
            channel.stream.deadline = None
            self._peers[peer.rank] = channel, peer
            self._changed.notify()

    def _note(self, error: Exception) -> None:
        """Count why a connection was refused."""
        reason = one_line(error) if isinstance(error, WorkerError) else "it broke, or took too long"
        with self._changed:
            if reason in self._refusals or len(self._refusals) < _MAX_REASONS:
                self._refusals[reason] += 1


def connect(listening: Listening, membership: Membership, peer: Peer) -> Channel:
    """Connect to the process that accepts the others.

    Args:
        listening: Where it listens.
        membership: What this process shows.
        peer: Who this process is, and whom it wants to reach.

    Returns:
        The authenticated connection.

    Raises:
        RefusedError: The other process says why it refuses this one.
        WorkerError: Nothing listens there, or no process of this run.
    """
    where = f"the run's coordinator at {listening.address}:{listening.port}"
    here = socket.gethostname()
    stream = None
    try:
        address = listening.address, listening.port
        connection = socket.create_connection(address, timeout=_HANDSHAKE_SECONDS)
        stream = Stream(connection, membership.silence)
        stream.deadline = time.monotonic() + _HANDSHAKE_SECONDS
        channel = greet(stream, membership.encrypt(stream, accepting=False), peer)
    except Exception as error:
        if stream:
            stream.release()
        if isinstance(error, RefusedError):
            raise RefusedError(f"{where} refuses {here}: {one_line(error)}.") from error
        if isinstance(error, (OSError, EOFError, ProtocolError)):
            raise WorkerError(
                f"{here} cannot connect to {where} ({one_line(error)}): check that a firewall does"
                " not block that address, and that all machines have the same PBKD_TLS_CA."
            ) from error
        raise
    stream.deadline = None
    return channel
