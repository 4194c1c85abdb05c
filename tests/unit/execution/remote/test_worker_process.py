from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pbkd.execution.remote.worker_process import Answer, WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.execution.remote.folder_sync import FolderDelta

CONTENTS: FolderDelta = {"config.yaml": b"seed: 0"}


def write(folder: Path, rank: int) -> None:
    (folder / f"rank{rank}").write_bytes((folder / "config.yaml").read_bytes())


def fail(folder: Path, rank: int) -> None:
    write(folder, rank)
    raise RuntimeError("out of paper")


def test_it_answers_while_it_works() -> None:
    goes_on = threading.Event()

    def slow(folder: Path, rank: int) -> None:
        write(folder, rank)
        goes_on.wait(20)
        (folder / "last").touch()

    process = WorkerProcess()
    assert process.is_new()
    process.begin("a", "work", slow, 1, CONTENTS, {})
    assert not process.is_new()
    while (answer := process.next_answer("a")).kind == "none":
        pass
    assert answer == Answer("result", {"rank1": b"seed: 0"})
    assert process.echo(b"!") == b"!"
    goes_on.set()
    assert process.next_answer("a") == Answer("result", {"last": b""})
    assert process.next_answer("a") == Answer("done")


def test_what_failing_work_has_written_comes_before_its_error() -> None:
    process = WorkerProcess()
    process.begin("a", "work", fail, 2, CONTENTS, {})
    assert process.next_answer("a") == Answer("result", {"rank2": b"seed: 0"})
    assert process.next_answer("a") == Answer("failed", "RuntimeError: out of paper")


def test_a_task_that_another_process_has_begun_is_unknown() -> None:
    assert WorkerProcess().next_answer("a") == Answer("unknown")
