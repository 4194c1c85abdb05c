"""Hostile workers against their coordinator, and a hostile coordinator against its workers."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest

from pbkd.core.schedule import Worker
from pbkd.errors import RunFolderError, WorkerError
from pbkd.execution.remote import follower
from pbkd.execution.remote.coordinator import Coordinator
from pbkd.execution.remote.messages import (
    Done,
    Echo,
    End,
    Failed,
    File,
    Lead,
    Load,
    Loaded,
    Message,
    Stay,
    Timed,
    Work,
)
from pbkd.execution.worker import LaunchedWork
from pbkd.execution.worker_request import WorkerRequest
from tests.cluster_peers import channels, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pbkd.execution.remote.channel import Channel


class Host(Coordinator):
    """A coordinator that records what would interrupt its process."""

    def _abort(self) -> None:
        aborted.append(str(self._failure))
        release.set()


aborted: list[str] = []
release = threading.Event()


def work(_folder: Path, _rank: int, _given: LaunchedWork | None = None) -> None:
    """Rank 0's work lasts until the worker is lost."""
    release.wait(20)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Channel, Channel]]:
    """The two ends of a connection."""
    monkeypatch.setattr("pbkd.execution.worker.work", work)
    monkeypatch.setenv("PBKD_LAUNCH_ID", "")  # a coordinator sets it
    aborted.clear()
    release.clear()
    ours, theirs = channels()
    yield ours, theirs
    ours.stream.release()
    theirs.stream.release()


def hostile(channel: Channel, *sent: tuple[Message, bytes]) -> None:
    """Send all this as soon as the work begins."""

    def serve() -> None:
        while not isinstance(channel.receive()[0], Work):
            pass
        for message, body in sent:
            channel.send(message, body)

    threading.Thread(target=serve, daemon=True).start()


@pytest.mark.parametrize(
    ("name", "delete"),
    [("../stolen", False), ("/tmp/stolen", False), ("events/host.jsonl", False), ("link/x", False),
     ("events/rank0.jsonl", False), ("events/rank1.jsonl", True), ("lock", True), ("a\\b", False)],
)  # fmt: skip
def test_a_worker_writes_nowhere_else_over_the_wire(
    name: str, delete: bool, ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (folder / "events").mkdir(parents=True)
    (folder / "lock").touch()
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    before = sorted(tmp_path.rglob("*"))
    host = Host({1: ends[0]}, 30)
    hostile(ends[1], (File(name, delete), b"" if delete else b"x"), (Done(), b""))
    host.launch(LaunchedWork(), folder, [Worker(0), Worker(1)])
    assert re.search("another process of this run sent|not its own", aborted[0])
    assert sorted(tmp_path.rglob("*")) == before
    host.close()


@pytest.mark.parametrize(
    "sent",
    [[(End(), b"")], [(Stay(), b"")], [(Lead(), b"")], [(Work(0), b"")],
     [(Load(1, "cpu", 1.0, "a"), b"")], [(Echo(0), b"")] * 6],
    ids=["end", "stay", "lead", "work", "load", "answers"],
)  # fmt: skip
def test_a_worker_that_sends_what_no_worker_sends_is_lost(
    sent: list[tuple[Message, bytes]], ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    host = Host({1: ends[0]}, 30)
    hostile(ends[1], *sent)
    with pytest.raises(WorkerError, match="worker 1"):
        host.launch(LaunchedWork(), tmp_path, [Worker(0), Worker(1)])
    assert "worker 1 was lost: it sent" in aborted[0]
    host.close()


def test_a_file_from_a_worker_without_work_is_refused(ends: tuple[Channel, Channel]) -> None:
    host = Host({1: ends[0]}, 30)
    ends[1].send(File("config.yaml"), b"x")
    wait_until(lambda: host._failure)
    assert host._failure == "worker 1 was lost: it sent a file although it has no work."
    host.close()


def test_what_a_worker_says_of_its_failure_controls_no_terminal(
    ends: tuple[Channel, Channel], tmp_path: Path
) -> None:
    host = Host({1: ends[0]}, 30)
    hostile(ends[1], (Failed("\x1b]0;owned\x07\x1b[2Jgone\u202e"), b""))
    release.set()
    with pytest.raises(WorkerError, match=r"^worker 1 failed: \]0;owned\[2Jgone$"):
        host.launch(LaunchedWork(), tmp_path, [Worker(0), Worker(1)])
    host.close()


@pytest.mark.parametrize("answer", [Loaded(), Done(), Echo(3)], ids=["loaded", "done", "echo"])
def test_an_answer_to_another_request_is_one_sentence(
    answer: Message, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pbkd.execution.remote.coordinator.prepare_probe", lambda _request: lambda: None
    )
    host = Host({1: ends[0]}, 30)
    ends[1].send(Loaded())
    ends[1].send(answer)
    with pytest.raises(WorkerError, match="worker 1 sent an answer to another request"):
        host.workers(WorkerRequest(configuration=""), 30)
    host.close()


def serve(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[Exception]]:
    """Follow a coordinator in a thread; return why it was lost, and what the following raised."""
    losses: list[str] = []
    errors: list[Exception] = []
    monkeypatch.setattr(follower, "_exit", losses.append)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run() -> None:
        try:
            follower.follow(channel, 20)
        except Exception as error:
            errors.append(error)

    threading.Thread(target=run, daemon=True).start()
    return losses, errors


@pytest.mark.parametrize("name", ["../stolen", "/tmp/stolen", "a/../../stolen", ".profile", "a\0"])
def test_a_coordinator_writes_nowhere_else_on_a_workers_machine(
    name: str, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    losses, errors = serve(ends[1], monkeypatch)
    ends[0].send(File("config.yaml"), b"{}")
    ends[0].send(File(name), b"x")
    ends[0].send(Work(1))
    wait_until(lambda: errors)
    assert isinstance(errors[0], RunFolderError)
    assert "outside of the folder" in str(errors[0])
    assert not losses
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("message", [Done(), Loaded(), Failed(""), Stay(), Timed("a", "b", 1, 1.0)])
def test_a_coordinator_that_sends_what_none_sends_is_lost(
    message: Message, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, _ = serve(ends[1], monkeypatch)
    ends[0].send(message)
    wait_until(lambda: losses)
    assert losses == ["it sent a message that no coordinator sends"]
