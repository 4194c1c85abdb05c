"""The messages between the processes of a run: data with fixed types, in JSON, and raw bytes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import ClassVar, get_args

from pbkd.core.plain_data import from_plain, to_plain
from pbkd.errors import WorkerError

__all__ = [
    "MAX_HEADER",
    "Done",
    "Echo",
    "End",
    "Failed",
    "File",
    "Heartbeat",
    "Lead",
    "Listening",
    "Load",
    "Loaded",
    "Message",
    "Move",
    "ProtocolError",
    "Start",
    "Stay",
    "Timed",
    "Work",
    "decode",
    "encode",
]

MAX_HEADER = 16 * 2**10
"""Maximum bytes of a message without its body."""

_MAX_TEXT = 2000
_MAX_RANK = 2**20
_MAX_PADDING = 16 * 2**20
_MAX_FILE = 2**31
_MAX_CONFIGURATION = 2**20


class ProtocolError(WorkerError):
    """The other side of a connection sent something that no process of a run sends."""


@dataclass(frozen=True)
class _Message:
    max_body: ClassVar[int] = 0
    """Maximum bytes that follow the message."""


@dataclass(frozen=True)
class Heartbeat(_Message):
    """The sender is alive."""


@dataclass(frozen=True)
class End(_Message):
    """The run has ended; the connection is going to be closed."""


@dataclass(frozen=True)
class Stay(_Message):
    """Follow the process that sends this."""


@dataclass(frozen=True)
class Lead(_Message):
    """Coordinate the others, since this process has the run folder."""


@dataclass(frozen=True)
class Listening(_Message):
    """The address at which the sender accepts the others."""

    address: str
    port: int

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _require(0 < len(self.address) <= 255 and self.address.isprintable(), "address")
        _require(0 < self.port < 2**16, "port")


@dataclass(frozen=True)
class Move(_Message):
    """Follow the process of this rank, at this address."""

    rank: int
    listening: Listening

    def __post_init__(self) -> None:
        """Refuse what is no rank."""
        _require(0 <= self.rank < _MAX_RANK, "rank")


@dataclass(frozen=True)
class Load(_Message):
    """Load the teacher, to time it; the body is the run's configuration, as YAML."""

    threads: int | None
    device: str
    patience: float
    launch: str

    max_body: ClassVar[int] = _MAX_CONFIGURATION

    def __post_init__(self) -> None:
        """Refuse values that a coordinator never sends."""
        _require(self.threads is None or self.threads > 0, "threads")
        _require(0 < self.patience < math.inf, "patience")
        _require(len(self.launch) <= 64 and self.launch.isalnum(), "launch")


@dataclass(frozen=True)
class Loaded(_Message):
    """The teacher is loaded."""


@dataclass(frozen=True)
class Start(_Message):
    """Time the teacher now."""


@dataclass(frozen=True)
class Timed(_Message):
    """What was measured in the sender's process, as in `WorkerProbe`."""

    host: str
    device: str
    threads: int
    seconds: float

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for text in (self.host, self.device):
            _require(0 < len(text) <= 255 and text.isprintable(), "host or device")
        _require(0 < self.threads < 2**16, "threads")
        _require(1e-9 < self.seconds < 1e9, "seconds")


@dataclass(frozen=True)
class Echo(_Message):
    """Send this back; `padding` zero bytes follow, which nobody looks at."""

    padding: int

    def __post_init__(self) -> None:
        """Refuse more bytes than are measured with."""
        _require(0 <= self.padding <= _MAX_PADDING, "padding")


@dataclass(frozen=True)
class File(_Message):
    """A change of a file of the run folder; the body is its content, or what to append to it."""

    name: str
    delete: bool = False

    max_body: ClassVar[int] = _MAX_FILE


@dataclass(frozen=True)
class Work(_Message):
    """Do a worker's part of the phase, in a folder with the files that were sent before."""

    rank: int

    def __post_init__(self) -> None:
        """Refuse what is no rank."""
        _require(0 <= self.rank < _MAX_RANK, "rank")


@dataclass(frozen=True)
class Done(_Message):
    """The work is done, and all files have been sent."""


@dataclass(frozen=True)
class Failed(_Message):
    """The request failed."""

    reason: str

    @classmethod
    def because(cls, reason: str) -> Failed:
        """Return the message with a reason of limited length."""
        return cls(reason[:_MAX_TEXT])

    def __post_init__(self) -> None:
        """Refuse longer reasons than are sent."""
        _require(len(self.reason) <= _MAX_TEXT, "reason")


Message = (
    Heartbeat | End | Stay | Lead | Listening | Move | Load | Loaded | Start | Timed | Echo
    | File | Work | Done | Failed
)  # fmt: skip
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message, size: int) -> bytes:
    """Write a message as the header of its body.

    Args:
        message: The message.
        size: Bytes of the body that follows.

    Returns:
        JSON, at most `MAX_HEADER` bytes.

    Raises:
        WorkerError: The message or its body is too large to be sent.
    """
    header = {"kind": type(message).__name__, "size": size, "data": to_plain(message)}
    text = json.dumps(header, allow_nan=False).encode()
    if len(text) > MAX_HEADER or size > message.max_body:
        raise WorkerError(
            f"a message of {len(text) + size:,} bytes is too large for another machine: at most"
            f" {message.max_body:,} are sent."
        )
    return text


def decode(header: bytes) -> tuple[Message, int]:
    """Read a header.

    Args:
        header: At most `MAX_HEADER` bytes, from another process.

    Returns:
        The message, and the size of its body, which its kind may have.

    Raises:
        ProtocolError: It is none that `encode` writes.
    """
    try:
        head = json.loads(header)
        kind = _KINDS[head["kind"]]
        message: Message = from_plain(kind, head["data"])
        size = from_plain(int, head["size"])
        _require(0 <= size <= kind.max_body, "size")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolError("it sent a message that no process of a run sends") from error
    return message, size


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise ValueError(f"invalid {name}")
