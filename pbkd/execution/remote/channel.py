"""An authenticated connection between two processes of a run.

Everything is sent in records. A record is its length, its content and a code (HMAC-SHA256) over
both and the number of the record, with a key that only the two sides have and that differs by
direction and by connection. So a record that was changed, injected, repeated, left out or sent
back to its sender is noticed before its content is used.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.execution.remote.messages import MAX_HEADER, Echo, ProtocolError, decode, encode

if TYPE_CHECKING:
    from pbkd.execution.remote.messages import Message
    from pbkd.execution.remote.stream import Stream


__all__ = ["Channel"]

_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_TAG_BYTES = 32
_RECORD_BYTES = 2**20


@dataclass
class _Direction:
    """Key and number of the next record of one direction."""

    key: bytes
    number: int = 0

    def tag(self, record: bytes) -> bytes:
        """Return the code of the next record."""
        code = hmac.digest(self.key, _NUMBER.pack(self.number) + record, "sha256")
        self.number += 1
        return code


class Channel:
    """Messages to and from one other process.

    One thread may receive while another one sends.
    """

    def __init__(self, stream: Stream, send_key: bytes, receive_key: bytes) -> None:
        """Take over a stream after the handshake that has agreed on the keys."""
        self.stream = stream
        self._sent = _Direction(send_key)
        self._received = _Direction(receive_key)

    def send(self, message: Message, body: bytes = b"") -> None:
        """Send a message and the bytes that belong to it.

        Raises:
            OSError: The connection broke; no other message can be sent.
            WorkerError: The message is too large.
        """
        self._send_record(encode(message, len(body)))
        view = memoryview(body)
        for start in range(0, len(body), _RECORD_BYTES):
            self._send_record(bytes(view[start : start + _RECORD_BYTES]))
        if isinstance(message, Echo):
            self.stream.write(bytes(message.padding))

    def receive(self) -> tuple[Message, bytes]:
        """Wait for the next message.

        Returns:
            The message and its body.

        Raises:
            EOFError: The connection was closed.
            OSError: It broke, or the other side is silent for too long.
            ProtocolError: A record is not authentic, or not a message.
        """
        message, size = decode(self._receive_record(MAX_HEADER))
        body = bytearray()
        while len(body) < size:
            body += self._receive_record(min(size - len(body), _RECORD_BYTES), exact=True)
        if isinstance(message, Echo):
            self._skip(message.padding)
        return message, bytes(body)

    def _send_record(self, content: bytes) -> None:
        record = _LENGTH.pack(len(content)) + content
        self.stream.write(record + self._sent.tag(record))

    def _receive_record(self, most: int, *, exact: bool = False) -> bytes:
        head = self.stream.read(_LENGTH.size)
        (length,) = _LENGTH.unpack(head)
        if length > most or (exact and length < most):
            raise ProtocolError(_NOT_AUTHENTIC)
        rest = self.stream.read(length + _TAG_BYTES)
        content, tag = rest[:length], rest[length:]
        if not hmac.compare_digest(tag, self._received.tag(head + content)):
            raise ProtocolError(_NOT_AUTHENTIC)
        return content

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self.stream.read(min(size, _RECORD_BYTES)))


_NOT_AUTHENTIC = (
    "a message was changed, injected, repeated or left out on its way, so something between the"
    " two machines interferes with their connection"
)
