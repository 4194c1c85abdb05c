"""The start of a connection: each side proves to the other that it knows the run's secret.

The accepting side sends a random challenge. The connecting side answers with its own random number,
who it is, and a code (HMAC-SHA256, keyed with the secret) over all of that; the accepting side
answers with another code over the same. A code holds for one side of one connection only: the
random numbers, the side's role, both ranks, the launch, the version and the certificate of the
encryption are part of what it covers. The keys of the connection are made in the same way. Until
both codes are checked, at most `_MAX_FRAME` bytes are read at a time, as plain JSON.
"""

from __future__ import annotations

import hmac
import json
import secrets
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pbkd._version import __version__
from pbkd.core.plain_data import from_plain, to_plain
from pbkd.errors import WorkerError
from pbkd.execution.remote.channel import Channel
from pbkd.execution.remote.messages import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.execution.remote.stream import Stream


__all__ = ["Credentials", "Peer", "RefusedError", "greet", "welcome"]

_VERSION = f"pbkd {__version__}, protocol 2"
_MAX_FRAME = 1024
_LENGTH = struct.Struct(">H")
_CONNECTING, _ACCEPTING = "connecting", "accepting"
T = TypeVar("T")


class RefusedError(WorkerError):
    """The other side does not take this process for a member of its run."""


@dataclass(frozen=True)
class Credentials:
    """What both sides of a connection must have in common.

    Attributes:
        secret: The secret of the run.
        launch: Identifies the processes that torchrun started together.
        certificate: The accepting side's, in DER format; empty without encryption.
    """

    secret: bytes
    launch: str
    certificate: bytes = b""


@dataclass(frozen=True)
class Peer:
    """The connecting side.

    Attributes:
        rank: Its rank.
        to: The rank of the process that it wants to reach.
        has_folder: Whether it has the run folder.
    """

    rank: int
    to: int
    has_folder: bool = False


@dataclass(frozen=True)
class _Challenge:
    version: str
    nonce: str


@dataclass(frozen=True)
class _Greeting:
    version: str
    launch: str
    peer: Peer
    nonce: str
    proof: str


@dataclass(frozen=True)
class _Reply:
    proof: str = ""
    refused: str = ""


_REFUSALS = {
    "version": f"it has another version than {_VERSION}: install the same on all machines",
    "secret": "the secrets differ (PBKD_SECRET or ~/.config/pbkd/secret): copy one to all machines",
    "launch": "it belongs to another launch of torchrun: check its --rdzv-id",
    "rank": "its rank is not expected, or taken: start every process once, by torchrun",
}


def welcome(
    stream: Stream, credentials: Credentials, expect: Callable[[Peer], bool]
) -> tuple[Peer, Channel]:
    """Let a process in that proves that it belongs to this run.

    Args:
        stream: A new connection, on which nothing was sent.
        credentials: What the other process must have too.
        expect: Whether a peer with this rank is to be let in.

    Returns:
        Who it is, and the authenticated connection.

    Raises:
        ProtocolError: It is no process of pbkd.
        RefusedError: It is not a member of this run.
        OSError: The connection broke, or the deadline of the stream has passed.
    """
    challenge = _Challenge(_VERSION, secrets.token_hex(32))
    _send(stream, challenge)
    greeting = _receive(stream, _Greeting)
    keys = _Keys(credentials, challenge, greeting)
    for code, accepted in (
        ("version", greeting.version == _VERSION),
        ("secret", keys.proves(greeting.proof, _CONNECTING)),
        ("launch", greeting.launch == credentials.launch),
        ("rank", len(greeting.nonce) == len(challenge.nonce) and expect(greeting.peer)),
    ):
        if not accepted:
            _send(stream, _Reply(refused=code))
            raise RefusedError(_REFUSALS[code])
    _send(stream, _Reply(proof=keys.proof(_ACCEPTING)))
    return greeting.peer, Channel(stream, keys.key(_ACCEPTING), keys.key(_CONNECTING))


def greet(stream: Stream, credentials: Credentials, peer: Peer) -> Channel:
    """Prove to the accepting side that this process belongs to its run, and have it do the same.

    Args:
        stream: A new connection, on which nothing was sent.
        credentials: What the other process must have too.
        peer: Who this process is.

    Returns:
        The authenticated connection.

    Raises:
        ProtocolError: The other side is no process of pbkd, or does not know the secret.
        RefusedError: The other side says why it does not let this process in.
        OSError: The connection broke, or the deadline of the stream has passed.
    """
    challenge = _receive(stream, _Challenge)
    if challenge.version != _VERSION:
        raise RefusedError(_REFUSALS["version"])
    unproven = _Greeting(_VERSION, credentials.launch, peer, secrets.token_hex(32), proof="")
    keys = _Keys(credentials, challenge, unproven)
    _send(stream, _Greeting(**{**vars(unproven), "proof": keys.proof(_CONNECTING)}))
    reply = _receive(stream, _Reply)
    if reply.refused in _REFUSALS:
        raise RefusedError(_REFUSALS[reply.refused])
    if not keys.proves(reply.proof, _ACCEPTING):
        raise ProtocolError("it does not know the secret of this run")
    return Channel(stream, keys.key(_CONNECTING), keys.key(_ACCEPTING))


class _Keys:
    """Codes and keys of one connection, derived from the secret and all that was said openly."""

    def __init__(
        self, credentials: Credentials, challenge: _Challenge, greeting: _Greeting
    ) -> None:
        said = {
            "challenge": asdict(challenge),
            "greeting": {**asdict(greeting), "proof": ""},
            "certificate": credentials.certificate.hex(),
        }
        self._said = json.dumps(said, sort_keys=True).encode()
        self._secret = credentials.secret

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, f"pbkd {purpose}\0".encode() + self._said, "sha256")

    def proof(self, side: str) -> str:
        """Return the code by which a side proves that it knows the secret."""
        return self._derived(f"proof {side}").hex()

    def proves(self, code: str, side: str) -> bool:
        """Whether a code is the proof of that side."""
        return hmac.compare_digest(code.encode("utf-8", "replace"), self.proof(side).encode())

    def key(self, side: str) -> bytes:
        """Return the key of the records that a side sends."""
        return self._derived(f"key {side}")


def _send(stream: Stream, frame: Any) -> None:
    content = json.dumps(to_plain(frame)).encode()
    if len(content) > _MAX_FRAME:
        raise WorkerError(f"the launch's name has more than {_MAX_FRAME} bytes: shorten --rdzv-id.")
    stream.write(_LENGTH.pack(len(content)) + content)


def _receive(stream: Stream, kind: type[T]) -> T:
    try:
        (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
        if length > _MAX_FRAME:
            raise ProtocolError("it is no process of pbkd")
        content: T = from_plain(kind, json.loads(stream.read(length)))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("it is no process of pbkd") from error
    return content
