"""What somebody on the way, or a hostile member of a run, sends over a connection that is open.

All connections are over loopback, between threads of this process.
"""

from __future__ import annotations

import pickle
import struct

import pytest

from pbkd.errors import WorkerError
from pbkd.execution.remote.channel import Channel, _Direction
from pbkd.execution.remote.messages import Echo, End, Heartbeat, ProtocolError
from pbkd.execution.remote.stream import Stream
from tests.cluster_peers import KEYS, channels, sockets

HUGE = struct.pack(">I", 2**32 - 1)


def record(content: bytes, sender: int, number: int) -> bytes:
    """Return a record as one of the two ends of `channels()` sends it."""
    head = struct.pack(">I", len(content)) + content
    return head + _Direction(KEYS[sender], number).tag(head)


HEARTBEAT = b'{"kind": "Heartbeat", "size": 0, "data": {}}'
END = b'{"kind": "End", "size": 0, "data": {}}'


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(record(HEARTBEAT, 1, 0) * 2, id="repeated"),
        pytest.param(record(HEARTBEAT, 1, 1), id="one left out"),
        pytest.param(record(END, 1, 1) + record(HEARTBEAT, 1, 0), id="in another order"),
        pytest.param(record(HEARTBEAT, 0, 0), id="sent back to its sender"),
        pytest.param(record(HEARTBEAT, 1, 0).replace(b"Heartbeat", b"Heartbeas"), id="changed"),
        pytest.param(record(HEARTBEAT, 1, 0)[:-32] + bytes(32), id="without a code"),
        pytest.param(HUGE, id="a huge length"),
        pytest.param(struct.pack(">I", 2**20), id="longer than a header"),
        pytest.param(b"\0" * 64, id="zeros"),
        pytest.param(pickle.dumps(("end", None)).ljust(64), id="pickled"),
    ],
)
def test_what_is_injected_into_a_connection_ends_it_unread(sent: bytes) -> None:
    here, there = sockets()
    receiving = Channel(Stream(here, 5), *KEYS)
    there.sendall(sent)
    with pytest.raises(ProtocolError, match="changed, injected, repeated or left out"):
        assert receiving.receive() == (Heartbeat(), b"")
        receiving.receive()


HEADERS = (
    b"", b"{}", b"[]", b"null", b"1e400", b'"' , b"[" * 9000, b"\xff\xfe", b'{"kind": "Heartbeat"}',
    b'{"kind": "Message", "size": 0, "data": {}}', b'{"kind": [], "size": 0, "data": {}}',
    b'{"kind": "__class__", "size": 0, "data": {}}', b'{"kind": "End", "size": 0, "data": []}',
    b'{"kind": "End", "size": 1, "data": {}}', b'{"kind": "End", "size": -1, "data": {}}',
    b'{"kind": "End", "size": true, "data": {}}', b'{"kind": "End", "size": 1e2, "data": {}}',
    b'{"kind": "File", "size": 2147483649, "data": {"name": "a"}}',
    b'{"kind": "File", "size": 99999999999999999999999999, "data": {"name": "a"}}',
    b'{"kind": "File", "size": 0, "data": {"name": 1}}', b'{"kind": "File", "size": 0, "data": {}}',
    b'{"kind": "Echo", "size": 0, "data": {"padding": -1}}',
    b'{"kind": "Echo", "size": 0, "data": {"padding": 99999999999}}',
    b'{"kind": "Work", "size": 0, "data": {"rank": -1}}',
    b'{"kind": "Listening", "size": 0, "data": {"address": "a", "port": 0}}',
    b'{"kind": "Listening", "size": 0, "data": {"address": "a\\u0000", "port": 9}}',
    b'{"kind": "Load", "size": 2000000, "data": {"threads": 1, "device": "cpu", "patience": 1.0,'
    b' "launch": "a"}}',
    b'{"kind": "Load", "size": 0, "data": {"threads": 1, "device": "cpu", "patience": NaN,'
    b' "launch": "a"}}',
    b'{"kind": "Timed", "size": 0, "data": {"host": "a", "device": "cpu", "threads": 1,'
    b' "seconds": 0}}',
    b'{"kind": "Timed", "size": 0, "data": {"host": "a", "device": "cpu", "threads": 1,'
    b' "seconds": Infinity}}',
    b'{"kind": "Timed", "size": 0, "data": {"host": "\\u001b[2J", "device": "cpu", "threads": 1,'
    b' "seconds": 1}}',
)  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_member_can_send_messages_of_fixed_types_and_sizes_only(header: bytes) -> None:
    here, there = sockets()
    receiving = Channel(Stream(here, 5), *KEYS)
    there.sendall(record(header, 1, 0))
    with pytest.raises(ProtocolError, match="no process of a run sends"):
        receiving.receive()


def test_a_message_that_is_too_large_is_not_sent() -> None:
    here, there = channels()
    with pytest.raises(WorkerError, match="too large for another machine"):
        here.send(End(), b"a")
    here.send(Echo(5))
    assert there.receive() == (Echo(5), b"")
