"""A connection between the coordinator and a worker elsewhere, with heartbeats both ways."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pbkd.errors import one_line
from pbkd.execution.remote.messages import End, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.execution.remote.channel import Channel
    from pbkd.execution.remote.messages import Message


__all__ = ["PeerConnection"]

_INTERVAL = 1.0  # seconds between heartbeats


class PeerConnection:
    """Messages to and from one other process, received in a background thread."""

    def __init__(
        self,
        channel: Channel,
        patience: float,
        on_message: Callable[[Message, bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Start to receive messages and to send heartbeats.

        Args:
            channel: The open connection.
            patience: Maximum silence of the peer, in seconds.
            on_message: Called with each message and its body, in the receiving thread. A
                `ProtocolError` that it raises ends the connection.
            on_lost: Called once, with the reason, when the peer is silent for too long, sends
                something that it may not, or disconnects before `close`.
        """
        self._channel = channel
        self.patience = patience
        self._on_message = on_message
        self._on_lost = on_lost
        self._sending = threading.Lock()
        self._closed = threading.Event()
        for loop in (self._receive, self._send_heartbeats):
            threading.Thread(target=loop, name="pbkd-peer", daemon=True).start()

    @property
    def patience(self) -> float:
        """Maximum silence of the peer, in seconds."""
        return self._channel.stream.silence

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._channel.stream.silence = seconds
        self._channel.stream.set_break_after(seconds)

    def send(self, message: Message, body: bytes = b"") -> None:
        """Send a message; if that fails, the receiving thread reports the lost connection.

        Raises:
            WorkerError: The message is too large.
        """
        try:
            with self._sending:
                self._channel.send(message, body)
        except OSError:
            self._channel.stream.close()  # part of the message may be sent

    def close(self) -> None:
        """Close the connection; a message `End` must have announced this to the peer."""
        self._closed.set()
        self._channel.stream.close()

    def _receive(self) -> None:
        try:
            while not self._closed.is_set():
                self._receive_one()
            reason = ""
        except TimeoutError:
            reason = f"no heartbeat for {self.patience:g} seconds"
        except (EOFError, OSError):
            reason = "its connection broke"
        except Exception as error:  # such as a ProtocolError; nobody would wait for this thread
            reason = one_line(error)
        self._channel.stream.release()
        if not self._closed.is_set():
            self._closed.set()
            self._on_lost(reason)

    def _receive_one(self) -> None:
        message, body = self._channel.receive()
        if not isinstance(message, Heartbeat):
            self._on_message(message, body)
        if isinstance(message, End):
            self._closed.set()

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(_INTERVAL):
            self.send(Heartbeat())
