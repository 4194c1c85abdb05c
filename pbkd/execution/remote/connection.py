"""A connection between the coordinator and a worker elsewhere, with heartbeats both ways."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


__all__ = ["PeerConnection"]

_INTERVAL = 1.0  # seconds between heartbeats


class PeerConnection:
    """Messages to and from one other process, received in a background thread.

    Messages are pickled: the two processes must trust each other.
    """

    def __init__(
        self,
        connection: Connection,
        patience: float,
        on_message: Callable[[str, Any], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Start to receive messages and to send heartbeats.

        Args:
            connection: The open connection.
            patience: Maximum silence of the peer, in seconds.
            on_message: Called with kind and content of each message, in the receiving thread.
            on_lost: Called once, with the reason, when the peer is silent for too long or
                disconnects before `close`.
        """
        self._connection = connection
        self.patience = patience
        self._on_message = on_message
        self._on_lost = on_lost
        self._sending = threading.Lock()
        self._closed = threading.Event()
        _set_tcp_options(connection, patience)
        for loop in (self._receive, self._send_heartbeats):
            threading.Thread(target=loop, name="pbkd-peer", daemon=True).start()

    def send(self, kind: str, content: Any = None) -> None:
        """Send a message; if that fails, the receiving thread reports the lost connection."""
        with suppress(OSError), self._sending:
            self._connection.send((kind, content))

    def close(self) -> None:
        """Close the connection; a message `end` must have announced this to the peer."""
        self._closed.set()
        with suppress(OSError):
            self._connection.close()

    def _receive(self) -> None:
        try:
            while self._connection.poll(self.patience):
                kind, content = self._connection.recv()
                if kind == "end":
                    self._closed.set()
                if kind != "heartbeat":
                    self._on_message(kind, content)
                if self._closed.is_set():
                    return
            reason = f"no heartbeat for {self.patience:g} seconds"
        except (EOFError, OSError):
            reason = "its connection broke"
        if not self._closed.is_set():
            self._closed.set()
            self._on_lost(reason)

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(_INTERVAL):
            self.send("heartbeat")


def _set_tcp_options(connection: Connection, patience: float) -> None:
    """Disable Nagle's algorithm; let the system break an unanswered connection, if it can."""
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate:
        duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(1000 * patience)
            duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
