from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from pbkd.errors import WorkerError
from pbkd.execution.remote.remote_workers import LostWorkerError, RemoteWorkers
from pbkd.execution.worker_request import WorkerRequest
from tests.unit.execution.remote.fake_workers import FakeHandle

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, rank: int) -> None:
    (folder / "done").write_text(str(rank))


def test_the_results_of_a_task() -> None:
    workers = RemoteWorkers([FakeHandle(), FakeHandle()], 20)
    results = workers.at_once(lambda r: list(workers.results(r, "work", write, r, {}, {})), [0, 1])
    assert results == [[{"done": b"0"}], [{"done": b"1"}]]


def test_a_worker_that_does_not_answer_is_lost() -> None:
    handle = FakeHandle()
    handle.is_silent = True
    begin = time.monotonic()
    with pytest.raises(LostWorkerError, match=r"worker 0 was lost \(no answer in 0\.2 s\)"):
        RemoteWorkers([handle], 0.2).ask(0, "echo", b"")
    assert time.monotonic() - begin < 5


def test_a_task_of_an_earlier_process_is_lost() -> None:
    handle = FakeHandle()
    results = RemoteWorkers([handle], 20).results(0, "work", write, 0, {}, {})
    assert next(results) == {"done": b"0"}
    handle.kill()
    with pytest.raises(LostWorkerError, match="worker 0 was lost .it was started anew"):
        next(results)


def test_a_process_that_outlives_a_kill_is_killed_again_and_never_used() -> None:
    handle = FakeHandle(kills_needed=3)
    workers = RemoteWorkers([handle], 20)
    assert list(workers.results(0, "work", write, 0, {}, {})) == [{"done": b"0"}]
    assert workers.restart(0)
    assert handle.kills == 3
    assert workers.ask(0, "is_new")


def test_no_process_takes_a_lost_ones_place() -> None:
    handle = FakeHandle(kills_needed=1000)
    handle.process = None
    assert not RemoteWorkers([handle], 0.2).restart(0)


def test_an_error_ends_the_wait_for_the_others() -> None:
    never = threading.Event()
    workers = RemoteWorkers([FakeHandle(), FakeHandle()], 1000)

    def work(_folder: Path, rank: int) -> None:
        if rank == 1:
            raise RuntimeError("out of paper")
        never.wait()

    with pytest.raises(WorkerError, match=r"worker 1 failed \(RuntimeError: out of paper\)"):
        workers.at_once(lambda r: list(workers.results(r, "work", work, r, {}, {})), [0, 1])
    assert workers.ask(0, "echo", b"!") == b"!"
    never.set()


def test_silence_is_the_reason_for_what_others_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pbkd.execution.remote.remote_workers._SILENCE", 0.1)
    handles = [FakeHandle(), FakeHandle()]
    workers = RemoteWorkers(handles, 1000)

    def call(rank: int) -> None:
        assert workers.ask(rank, "echo", b"!")
        if rank == 1:
            handles[1].is_silent = True
            workers.ask(1, "echo", b"!")
        raise WorkerError("connection closed by peer")

    with pytest.raises(LostWorkerError, match="worker 1 was lost .no answer after others failed"):
        workers.at_once(call, [0, 1], grace=0.5)


def test_workers_that_are_lost_at_the_start_are_a_sentence() -> None:
    handle = FakeHandle()
    handle.process = None
    with pytest.raises(WorkerError, match=r"worker 0 was lost \(it died\) before it began: look"):
        RemoteWorkers([handle], 0.2).measure(WorkerRequest(configuration=""))
