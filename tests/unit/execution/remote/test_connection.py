from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from pbkd.core.schedule import Worker
from pbkd.errors import WorkerError
from pbkd.execution.remote import connection
from pbkd.execution.remote.connection import PeerConnection
from pbkd.execution.remote.coordinator import Coordinator
from pbkd.execution.remote.messages import (
    Done,
    Echo,
    End,
    Failed,
    File,
    Heartbeat,
    Message,
    Stay,
    Work,
)
from pbkd.execution.worker import LaunchedWork
from tests.cluster_peers import channels, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd.execution.remote.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The two ends of a connection."""
    ours, theirs = channels()
    yield ours, theirs
    ours.stream.release()
    theirs.stream.release()


class Received:
    """The messages of a connection, and why it was lost."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, bytes]] = []
        self.losses: list[str] = []

    def connect(self, channel: Channel, patience: float = 30) -> PeerConnection:
        return PeerConnection(
            channel, patience, lambda *message: self.messages.append(message), self.losses.append
        )

    def wait(self) -> None:
        wait_until(lambda: self.messages or self.losses)


def test_messages_arrive_and_heartbeats_are_not_messages(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_INTERVAL", 0.05)
    received, other = Received(), Received()
    peer, back = received.connect(ends[0], 0.4), other.connect(ends[1], 0.4)
    time.sleep(0.5)  # longer than either has patience
    content = bytes(range(256)) * 2**13  # in several records
    back.send(File("a"), content)
    received.wait()
    assert received.messages == [(File("a"), content)]
    assert received.losses == other.losses == []
    back.send(End())
    back.close()
    peer.close()


def test_silence_is_a_loss(ends: tuple[Channel, Channel]) -> None:
    received = Received()
    received.connect(ends[0], 0.3)
    received.wait()
    assert received.losses == ["no heartbeat for 0.3 seconds"]


def test_so_is_a_connection_that_breaks(ends: tuple[Channel, Channel]) -> None:
    received = Received()
    received.connect(ends[0])
    ends[1].stream.close()
    received.wait()
    assert received.losses == ["its connection broke"]


def test_but_not_one_that_was_ended(ends: tuple[Channel, Channel]) -> None:
    received = Received()
    received.connect(ends[0])
    ends[1].send(End())
    ends[1].stream.close()
    received.wait()
    time.sleep(0.1)
    assert received.messages == [(End(), b"")]
    assert received.losses == []


def test_an_echo_carries_as_many_bytes_as_it_says(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(Echo(3_000_000))
    ends[0].send(Stay())
    assert ends[1].receive() == (Echo(3_000_000), b"")
    assert ends[1].receive() == (Stay(), b"")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the work of a run, which is the only one that others do."""
    monkeypatch.setattr("pbkd.execution.worker.work", write)


def write(folder: Path, rank: int, _given: LaunchedWork | None = None) -> None:
    (folder / f"rank{rank}").write_text("done")


def answer(channel: Channel, *answers: tuple[Message, bytes]) -> None:
    """Answer the request for work, as a worker elsewhere would."""

    def serve() -> None:
        while not isinstance(channel.receive()[0], Work):
            pass
        for message, body in answers:
            channel.send(message, body)

    threading.Thread(target=serve, daemon=True).start()


@pytest.mark.usefixtures("work")
def test_what_a_worker_writes_lands_in_the_runs_folder(
    ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    host = Coordinator({1: ends[0]}, 30)
    answer(ends[1], (Heartbeat(), b""), (File("rank1"), b"done"), (Done(), b""))
    host.launch(LaunchedWork(), tmp_path, [Worker(0), Worker(1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank0", "rank1"]
    host.close()


@pytest.mark.usefixtures("work")
def test_a_worker_that_fails_is_named(ends: tuple[Channel, Channel], tmp_path: Path) -> None:
    host = Coordinator({1: ends[0]}, 30)
    answer(ends[1], (Failed("there is no 'cifar10.npz'"), b""))
    with pytest.raises(WorkerError, match=r"worker 1 failed: there is no 'cifar10.npz'"):
        host.launch(LaunchedWork(), tmp_path, [Worker(0), Worker(1)])
    host.close()


@pytest.mark.usefixtures("work")
def test_one_that_was_lost_while_nothing_was_asked_of_it_fails_the_next_request(
    ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    host = Coordinator({1: ends[0]}, 30)
    ends[1].stream.close()
    wait_until(lambda: host._failure)  # lost during the work, it would end this process
    with pytest.raises(WorkerError, match="worker 1 was lost: its connection broke"):
        host.launch(LaunchedWork(), tmp_path, [Worker(0), Worker(1)])
    host.close()


def test_no_other_code_than_the_work_of_a_run_is_sent(
    ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    host = Coordinator({1: ends[0]}, 30)
    with pytest.raises(WorkerError, match="no code to its workers"):
        host.launch(write, tmp_path, [Worker(0), Worker(1)])
    assert not list(tmp_path.iterdir())
    host.close()
