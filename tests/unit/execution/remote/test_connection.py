from __future__ import annotations

import threading
import time
from multiprocessing.connection import Client, Listener
from typing import TYPE_CHECKING, Any

import pytest

from pbkd.core.schedule import Worker
from pbkd.errors import WorkerError
from pbkd.execution.remote import connection
from pbkd.execution.remote.connection import PeerConnection
from pbkd.execution.remote.coordinator import Coordinator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    """The two ends of a connection."""
    with Listener(("localhost", 0)) as listener:
        arrived: list[Connection] = []
        threading.Thread(target=lambda: arrived.append(listener.accept())).start()
        ours = Client(listener.address)
        while not arrived:
            time.sleep(0.01)
        yield ours, arrived[0]
        ours.close()
        arrived[0].close()


class Received:
    """The messages of a connection, and why it was lost."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.losses: list[str] = []

    def connect(self, connection: Connection, patience: float = 30) -> PeerConnection:
        return PeerConnection(
            connection, patience, lambda *message: self.messages.append(message), self.losses.append
        )

    def wait(self) -> None:
        end = time.monotonic() + 20
        while not self.messages and not self.losses:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_messages_arrive_and_heartbeats_are_not_messages(
    ends: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_INTERVAL", 0.1)
    received, other = Received(), Received()
    peer, back = received.connect(ends[0], 1), other.connect(ends[1], 1)
    time.sleep(1.2)  # longer than either has patience
    back.send("answer", {"a": b"b"})
    received.wait()
    assert received.messages == [("answer", {"a": b"b"})]
    assert received.losses == other.losses == []
    back.send("end")
    back.close()
    peer.close()


def test_silence_is_a_loss(ends: tuple[Connection, Connection]) -> None:
    received = Received()
    received.connect(ends[0], 0.3)
    received.wait()
    assert received.losses == ["no heartbeat for 0.3 seconds"]


def test_so_is_a_connection_that_breaks(ends: tuple[Connection, Connection]) -> None:
    received = Received()
    received.connect(ends[0])
    ends[1].close()
    received.wait()
    assert received.losses == ["its connection broke"]


def test_but_not_one_that_was_ended(ends: tuple[Connection, Connection]) -> None:
    received = Received()
    received.connect(ends[0])
    ends[1].send(("end", None))
    ends[1].close()
    received.wait()
    time.sleep(0.1)
    assert received.messages == [("end", None)]
    assert received.losses == []


def work(folder: Path, rank: int) -> None:
    (folder / f"rank{rank}").write_text("done")


def answering(connection: Connection, *answers: tuple[str, Any]) -> None:
    """Answer the next requests, each by one of `answers`, as a worker elsewhere would."""

    def answer() -> None:
        for reply in answers:
            while connection.recv()[0] == "heartbeat":
                pass
            connection.send(reply)

    threading.Thread(target=answer, daemon=True).start()


def test_what_a_worker_writes_lands_in_the_runs_folder(
    ends: tuple[Connection, Connection], tmp_path: Path
) -> None:
    host = Coordinator({1: ends[0]}, 30)

    def other() -> None:
        while ends[1].recv()[0] != "work":
            pass
        ends[1].send(("delta", {"rank1": b"done"}))
        ends[1].send(("answer", None))

    threading.Thread(target=other, daemon=True).start()
    host.launch(work, tmp_path, [Worker(0), Worker(1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank0", "rank1"]
    host.close()


def test_a_worker_that_fails_is_named(ends: tuple[Connection, Connection], tmp_path: Path) -> None:
    host = Coordinator({1: ends[0]}, 30)
    answering(ends[1], ("failed", "there is no 'cifar10.npz'"))
    with pytest.raises(WorkerError, match=r"worker 1 failed: there is no 'cifar10.npz'"):
        host.launch(work, tmp_path, [Worker(0), Worker(1)])
    host.close()


def test_one_that_was_lost_while_nothing_was_asked_of_it_fails_the_next_request(
    ends: tuple[Connection, Connection], tmp_path: Path
) -> None:
    host = Coordinator({1: ends[0]}, 30)
    ends[1].close()
    while not host._failure:  # lost during the work, it would end this process
        time.sleep(0.01)
    with pytest.raises(WorkerError, match="worker 1 was lost: its connection broke"):
        host.launch(work, tmp_path, [Worker(0), Worker(1)])
    host.close()
