"""Bytes to and from one other process, through a socket that may be encrypted."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Stream"]

T = TypeVar("T")
_PIECE = 2**18  # bytes of one call of the system


class Stream:
    """Reads and writes whole pieces; one thread may read while another one writes.

    OpenSSL's connections are not safe to use from two threads. So the socket never blocks: each
    call is made under a lock, and waiting happens outside of it.

    Attributes:
        silence: Maximum seconds without any progress.
        deadline: Time of `time.monotonic` at which all waiting ends; None for no such time.
    """

    def __init__(self, connection: socket.socket, silence: float) -> None:
        """Take over a connected socket."""
        connection.setblocking(False)
        with suppress(OSError):  # of another family than TCP
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._lock = threading.Lock()
        self.silence = silence
        self.deadline: float | None = None

    def encrypt(self, context: ssl.SSLContext, *, accepting: bool) -> bytes | None:
        """Encrypt the connection from now on.

        Args:
            context: Own certificate, and which ones to accept.
            accepting: Whether this side has accepted the connection.

        Returns:
            The other side's certificate, in DER format.

        Raises:
            OSError: The other side is not encrypted, or its certificate is not accepted.
            TimeoutError: It takes too long.
        """
        encrypted = context.wrap_socket(
            self._socket, server_side=accepting, do_handshake_on_connect=False
        )
        self._socket = encrypted
        self._retried(encrypted.do_handshake, select.POLLIN)
        return encrypted.getpeercert(binary_form=True)

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises:
            EOFError: The connection was closed.
            OSError: It broke.
            TimeoutError: `silence` or `deadline` is exceeded.
        """
        content = bytearray()
        while len(content) < size:
            call = partial(self._receive, min(size - len(content), _PIECE))
            piece = self._retried(call, select.POLLIN)
            if not piece:
                raise EOFError("the connection was closed")
            content += piece
        return bytes(content)

    def write(self, content: bytes) -> None:
        """Write all bytes.

        Raises:
            OSError: The connection broke.
            TimeoutError: `silence` or `deadline` is exceeded; part of the bytes may be written.
        """
        left = memoryview(content)
        while left:
            left = left[self._retried(partial(self._send, left[:_PIECE]), select.POLLOUT) :]

    def close(self) -> None:
        """Close the connection in both directions; other threads' reads and writes end."""
        with suppress(OSError), self._lock:
            self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the connection, and free the socket for other uses."""
        self.close()
        with self._lock:
            self._socket.close()

    def set_break_after(self, seconds: float) -> None:
        """Have the system break the connection, if it can, once sent bytes stay unanswered."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):
                self._socket.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds)
                )

    def _receive(self, size: int) -> bytes:
        return self._socket.recv(size)

    def _send(self, content: memoryview) -> int:
        return self._socket.send(content)

    def _retried(self, call: Callable[[], T], events: int) -> T:
        """Make a call of the socket, as often as it would block; `events` says on what."""
        end = time.monotonic() + self.silence
        while True:
            try:
                with self._lock:
                    return call()
            except BlockingIOError:
                self._wait(events, end)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, end)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, end)

    def _wait(self, events: int, end: float) -> None:
        until = end if self.deadline is None else min(end, self.deadline)
        poll = select.poll()
        try:
            poll.register(self._socket, events)
        except ValueError as error:
            raise OSError("this process has closed the connection") from error
        if not poll.poll(1000 * max(0.0, until - time.monotonic())):
            raise TimeoutError("no answer in time")
