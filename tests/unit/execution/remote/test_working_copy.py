from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pbkd.errors import WorkerError
from pbkd.execution.remote.working_copy import stream_work, work_in_copy

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.execution.remote.folder_sync import FolderDelta

CONTENTS: FolderDelta = {"config.yaml": b"seed: 0"}


def write(folder: Path, rank: int) -> None:
    (folder / f"rank{rank}").write_bytes((folder / "config.yaml").read_bytes())


def fail(folder: Path, rank: int) -> None:
    write(folder, rank)
    raise RuntimeError("out of paper")


def test_changes_of_the_copy_are_sent() -> None:
    sent: list[FolderDelta] = []
    work_in_copy(write, 3, CONTENTS, sent.append)
    assert sent == [{"rank3": b"seed: 0"}]


def test_changes_are_sent_while_the_work_goes_on() -> None:
    finished = []

    def slow(folder: Path, rank: int) -> None:
        write(folder, rank)
        time.sleep(2)
        (folder / "last").touch()
        finished.append(rank)

    deltas = stream_work(slow, 1, CONTENTS)
    assert next(deltas) == {"rank1": b"seed: 0"}
    assert finished == []
    assert list(deltas) == [{"last": b""}]
    assert finished == [1]


def test_what_failing_work_has_written_is_sent_before_its_error() -> None:
    deltas = stream_work(fail, 2, CONTENTS)
    assert next(deltas) == {"rank2": b"seed: 0"}
    with pytest.raises(WorkerError, match="out of paper"):
        next(deltas)
