"""Both ends of a connection between two processes of a run, in this process."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from pbkd.execution.remote.channel import Channel
from pbkd.execution.remote.handshake import Credentials, Peer
from pbkd.execution.remote.listener import Listener, Membership, connect, listen
from pbkd.execution.remote.messages import Listening
from pbkd.execution.remote.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"0123456789abcdef0123456789abcdef"
LAUNCH = "test, 3 processes"
KEYS = os.urandom(32), os.urandom(32)


def membership(secret: bytes = SECRET, launch: str = LAUNCH, silence: float = 20) -> Membership:
    """Return what a process shows, by default one of the test's run."""
    return Membership(Credentials(secret, launch), None, silence)


def sockets() -> tuple[socket.socket, socket.socket]:
    """Return a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connecting = socket.create_connection(server.getsockname())
        return connecting, server.accept()[0]


def channels() -> tuple[Channel, Channel]:
    """Return both ends of a connection after its handshake."""
    here, there = (Stream(end, 20) for end in sockets())
    return Channel(here, *KEYS), Channel(there, *reversed(KEYS))


class Accepting:
    """A listener of rank 0 that waits for the others in a thread."""

    def __init__(self, world_size: int = 2, member: Membership | None = None) -> None:
        self.peers: dict[int, tuple[Channel, Peer]] = {}
        self.error: Exception | None = None
        self._world_size = world_size
        self._context = listen("127.0.0.1", member or membership(), 0)
        self.listener: Listener = self._context.__enter__()
        self.listening = Listening(*self.listener.address)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        try:
            self.peers = self.listener.accept(self._world_size, 20)
        except Exception as error:
            self.error = error

    def stranger(self) -> socket.socket:
        """Return a connection of somebody."""
        return socket.create_connection(self.listener.address, timeout=20)

    def connect(self, peer: Peer, member: Membership | None = None) -> Channel:
        """Connect as a process of the run, or as one that claims to be one."""
        return connect(self.listening, member or membership(), peer)

    def finish(self) -> dict[int, tuple[Channel, Peer]]:
        """Return the processes that were let in."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.close()
        return self.peers

    def close(self) -> None:
        """Stop to listen."""
        self._context.__exit__(None, None, None)


def wait_until(condition: Callable[[], object], seconds: float = 150) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
