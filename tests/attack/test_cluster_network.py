"""Strangers on the network of a run on several machines, and hostile messages of its members.

All connections are over loopback, between threads of this process.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from pbkd.errors import WorkerError
from pbkd.execution.remote import handshake, listener, rendezvous
from pbkd.execution.remote.handshake import Credentials, Peer, RefusedError
from pbkd.execution.remote.messages import ProtocolError, Stay
from pbkd.execution.remote.stream import Stream
from tests.cluster_peers import (
    LAUNCH,
    SECRET,
    Accepting,
    membership,
    sockets,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ME = Peer(1, 0)
HUGE = struct.pack(">I", 2**32 - 1)


@pytest.fixture
def accepting() -> Iterator[Accepting]:
    """Rank 0 of two processes, which waits for rank 1."""
    waiting = Accepting()
    yield waiting
    if not waiting.peers:
        waiting.connect(ME)  # nobody else was let in
        assert list(waiting.finish()) == [1]


class Mark:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o700)


def frame(**content: object) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack(">H", len(text)) + text


def answer_to(stranger: socket.socket, *sent: bytes) -> bytes:
    """Return all that the accepting side says to what a stranger sends."""
    said = b""
    try:
        for content in sent:
            stranger.sendall(content)
        stranger.shutdown(socket.SHUT_WR)
        while piece := stranger.recv(4096):
            said += piece
    except OSError:  # it does not even read all
        pass
    stranger.close()
    return said


def test_strangers_without_the_secret_are_let_in_by_nothing(
    accepting: Accepting, tmp_path: Path
) -> None:
    greeting = {"version": handshake._VERSION, "launch": LAUNCH, "nonce": "0" * 64,
                "peer": {"rank": 1, "to": 0}, "proof": "0" * 64}  # fmt: skip
    draw = random.Random(0)
    wrong = {
        "nothing": b"",
        "pickled code": pickle.dumps(Mark(tmp_path / "made")),
        "pickled code in a frame": struct.pack(">H", 200) + pickle.dumps(Mark(tmp_path / "made")),
        "a huge length": HUGE,
        "too long a frame": struct.pack(">H", 1025) + b"a" * 1025,
        "nested JSON": frame()[:2] + b"[" * 1024,
        "a length of 0": bytes(2),
        "half a frame": frame(**greeting)[:50],
        "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "a number for a text": frame(**{**greeting, "proof": 1}),
        "a huge rank": frame(**{**greeting, "peer": {"rank": 10**30, "to": 0}}),
        "a proof of zeros": frame(**greeting),
        "an empty proof": frame(**{**greeting, "proof": ""}),
        "a proof that is no text of bytes": frame(**{**greeting, "proof": "\ud800" * 64}),
        "no proof": frame(**{key: value for key, value in greeting.items() if key != "proof"}),
        "NaN": frame(**{**greeting, "peer": {"rank": float("nan"), "to": 0}}),
        **{f"noise {size}": draw.randbytes(size) for size in range(1, 200, 7)},
    }
    for name, content in wrong.items():
        said = answer_to(accepting.stranger(), content)
        assert b"proof" not in said, name  # nothing that is made with the secret is told
    assert accepting.peers == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("member", "peer", "why"),
    [
        (membership(secret=b"x" * 32), ME, "the secrets differ"),
        (membership(launch="test, 4 processes"), ME, "another launch"),
        (membership(), Peer(2, 0), "its rank is not expected"),
        (membership(), Peer(0, 0), "its rank is not expected"),
        (membership(), Peer(-1, 0), "its rank is not expected"),
        (membership(), Peer(1, 1), "its rank is not expected"),
    ],
)
def test_what_a_member_has_in_another_way_is_said(
    member: listener.Membership, peer: Peer, why: str, accepting: Accepting
) -> None:
    with pytest.raises(RefusedError, match=f"refuses .*: .*{why}"):
        accepting.connect(peer, member)


def test_another_version_is_refused_by_both_sides(accepting: Accepting) -> None:
    old = frame(version="old", launch=LAUNCH, peer={"rank": 1, "to": 0}, nonce="0", proof="0")
    assert b'"refused": "version"' in answer_to(accepting.stranger(), old)
    here, there = sockets()
    there.sendall(frame(version="old", nonce="0"))
    with pytest.raises(RefusedError, match="install the same on all machines"):
        handshake.greet(Stream(here, 5), Credentials(SECRET, LAUNCH), ME)


def test_the_second_of_a_rank_is_refused() -> None:
    accepting = Accepting(world_size=3)
    first = accepting.connect(Peer(1, 0))
    wait_until(lambda: accepting.listener._peers[1])  # noted after its answer
    with pytest.raises(RefusedError, match="taken"):
        accepting.connect(Peer(1, 0))
    accepting.connect(Peer(2, 0, has_folder=True))
    peers = accepting.finish()
    peers[1][0].send(Stay())
    assert first.receive() == (Stay(), b"")
    assert peers[2][1].has_folder


def test_neither_idle_nor_slow_strangers_delay_a_member(
    accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_HANDSHAKE_SECONDS", 0.5)
    idle = [accepting.stranger() for _ in range(20)]
    slow = accepting.stranger()
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"(reset|[Bb]roken)"):
        for byte in frame(version="a" * 200):
            slow.sendall(bytes([byte]))
            time.sleep(0.05)
    assert 0.4 < time.monotonic() - begun < 3
    for stranger in idle:
        while stranger.recv(4096):  # the challenge, then the end
            pass
    begun = time.monotonic()
    idle = [accepting.stranger() for _ in range(20)]
    accepting.connect(ME)
    assert time.monotonic() - begun < 0.4
    assert list(accepting.finish()) == [1]


def test_a_crowd_of_strangers_takes_bounded_room_and_keeps_nobody_out(
    accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MAX_STRANGERS", 10)
    crowd = [accepting.stranger() for _ in range(60)]
    wait_until(lambda: len(accepting.listener._strangers) == 10 + 1)
    threads = [thread for thread in threading.enumerate() if thread.name == "pbkd-welcome"]
    assert len(threads) <= 30
    accepting.connect(ME)
    accepting.finish()
    wait_until(lambda: not accepting.listener._strangers)
    for stranger in crowd:
        stranger.close()


STORED = (
    b"", b"null", b"[" * 100_000, b"\xff", pickle.dumps(("127.0.0.1", 9)), b'{"address": "a"}',
    b'{"address": 1, "port": 9}', b'{"address": "a\\n", "port": 9}', b'{"port": 9}',
    b'{"address": "", "port": 9}', b'{"address": "a", "port": 65536}',
    b'{"address": "a", "port": "9"}',
)  # fmt: skip


def test_what_a_stranger_writes_to_torchs_store_is_one_sentence() -> None:
    store: Any = HashStore()  # declared for text, takes bytes
    for content in STORED:
        store.set(rendezvous._LISTENING_KEY, content)
        with pytest.raises(WorkerError, match="only the machines of this run reach it"):
            rendezvous._listening(store)


def test_one_address_only_is_listened_at(accepting: Accepting) -> None:
    port = accepting.listening.port
    ours = psutil.Process().net_connections("inet")
    listening = {entry.laddr for entry in ours if entry.status == psutil.CONN_LISTEN}
    assert {address.ip for address in listening if address.port == port} == {"127.0.0.1"}


class Between:
    """Somebody on the way between two processes, who records what they say."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.recorded = {"up": b"", "down": b""}
        self._target = target
        self.server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connecting, _ = self.server.accept()
        onward = socket.create_connection(self._target)
        for name, source, target in (("up", connecting, onward), ("down", onward, connecting)):
            threading.Thread(target=self._pass_on, args=(name, source, target), daemon=True).start()

    def _pass_on(self, name: str, source: socket.socket, target: socket.socket) -> None:
        while piece := source.recv(4096):
            self.recorded[name] += piece
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def test_a_handshake_that_was_recorded_lets_nobody_in_again() -> None:
    accepting = Accepting(world_size=3)
    between = Between(accepting.listener.address)
    listening = type(accepting.listening)(*between.server.getsockname())
    listener.connect(listening, membership(), Peer(1, 0))
    said = answer_to(accepting.stranger(), between.recorded["up"])
    assert b'"refused": "secret"' in said
    accepting.connect(Peer(2, 0))
    assert sorted(accepting.finish()) == [1, 2]
    assert SECRET not in between.recorded["up"] + between.recorded["down"]


def test_an_accepting_side_cannot_be_played_by_its_own_recording() -> None:
    accepting = Accepting()
    between = Between(accepting.listener.address)
    listening = type(accepting.listening)(*between.server.getsockname())
    listener.connect(listening, membership(), Peer(1, 0))
    accepting.finish()
    recorded = between.recorded["down"]
    here, there = sockets()
    there.sendall(recorded)
    stream = Stream(here, 5)
    with pytest.raises(ProtocolError, match="does not know the secret"):
        handshake.greet(stream, Credentials(SECRET, LAUNCH), Peer(1, 0))


def send_back(end: socket.socket) -> None:
    while piece := end.recv(4096):
        end.sendall(piece)


def test_a_side_that_gets_its_own_words_back_is_not_fooled(accepting: Accepting) -> None:
    here, there = sockets()
    threading.Thread(target=send_back, args=[there], daemon=True).start()
    stream = Stream(here, 2)
    with pytest.raises(ProtocolError):
        handshake.welcome(stream, Credentials(SECRET, LAUNCH), lambda _peer: True)
    stream.release()
    stranger = accepting.stranger()
    challenge = stranger.recv(4096)
    assert b"proof" not in answer_to(stranger, challenge)
