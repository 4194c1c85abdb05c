"""A connection between a run's host and a worker elsewhere, with signs of life both ways."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


__all__ = ["Line"]

_BEAT = 1.0  # seconds


class Line:
    """Messages to and from one other process; `heard` gets each, in a thread of the line's own.

    `lost` is called once, with the reason, when the other side is silent for `patience` seconds or
    gone before `close`. Messages are pickled: the two sides must trust each other.
    """

    def __init__(
        self,
        connection: Connection,
        patience: float,
        heard: Callable[[str, Any], None],
        lost: Callable[[str], None],
    ) -> None:
        """Start to listen and to give signs of life."""
        self._connection = connection
        self.patience = patience
        self._heard = heard
        self._lost = lost
        self._sending = threading.Lock()
        self._closed = threading.Event()
        _give_up_after(connection, patience)
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name="pbkd-line", daemon=True).start()

    def send(self, kind: str, content: Any = None) -> None:
        """Send a message; one that cannot leave is lost with the line, of which `lost` tells."""
        with suppress(OSError), self._sending:
            self._connection.send((kind, content))

    def close(self) -> None:
        """End the line, after a message `end` with which the other side expects that."""
        self._closed.set()
        with suppress(OSError):
            self._connection.close()

    def _listen(self) -> None:
        try:
            while self._connection.poll(self.patience):
                kind, content = self._connection.recv()
                if kind == "end":
                    self._closed.set()
                if kind != "beat":
                    self._heard(kind, content)
                if self._closed.is_set():
                    return
            reason = f"it gave no sign of life for {self.patience:g} seconds"
        except (EOFError, OSError):
            reason = "its connection broke"
        if not self._closed.is_set():
            self._closed.set()
            self._lost(reason)

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT):
            self.send("beat")


def _give_up_after(connection: Connection, patience: float) -> None:
    """Have the system break a connection whose other side no longer answers, where it can."""
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as own:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(1000 * patience)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
