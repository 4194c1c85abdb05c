"""Commands that only look write nothing, follow no link, and need no right to write."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pbkd as library
from pbkd.errors import RunFolderError
from pbkd.runs.lock import is_held, locked

if TYPE_CHECKING:
    from tests.command_line import Pbkd


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time of the last change and content of everything in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *sorted(folder.rglob("*")))
    }


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run", copy_function=shutil.copy2))


@pytest.mark.parametrize("verb", ["status", "watch", "compare"])
def test_a_command_that_looks_changes_nothing(verb: str, copied: Path, pbkd: Pbkd) -> None:
    (copied / "lock").unlink()
    before = state(copied)
    assert pbkd(verb, copied).code == 0
    assert state(copied) == before


def test_loading_changes_nothing(copied: Path) -> None:
    before = state(copied)
    assert library.load(copied)
    assert state(copied) == before


def test_looking_opens_nothing_for_writing(copied: Path, pbkd: Pbkd) -> None:
    """Root may write anywhere, so a folder without the right to write shows nothing."""
    opened: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        path, _mode, flags = arguments if event == "open" else ("", None, 0)
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and str(path).startswith(str(copied)):
            opened.append(str(path))

    watching = [hook]
    sys.addaudithook(lambda event, arguments: [f(event, arguments) for f in watching])
    for verb in ("status", "watch", "compare"):
        assert pbkd(verb, copied).code == 0
    library.load(copied)
    watching.clear()
    assert opened == []


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_a_lock_that_is_no_regular_file_is_refused(
    kind: str, copied: Path, pbkd: Pbkd, tmp_path: Path
) -> None:
    lock, mine = copied / "lock", tmp_path / "mine"
    mine.write_text("precious")
    lock.unlink()
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(mine if kind == "link" else tmp_path / "none")
    for look in (is_held, lambda folder: locked(folder).__enter__()):
        with pytest.raises(RunFolderError, match="lock' is not a regular file: delete it"):
            look(copied)
    (copied / "README.md").unlink()  # else it is not asked whether it runs
    ended = pbkd("status", copied)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert mine.read_text() == "precious"
    assert not (tmp_path / "none").exists()


def test_a_lock_that_is_held_is_seen_without_taking_it(copied: Path) -> None:
    with locked(copied):
        assert is_held(copied)
        with pytest.raises(RunFolderError, match="another process runs in"), locked(copied):
            pass
    assert not is_held(copied)


@pytest.mark.parametrize("name", ["checkpoints", "teacher-fed", "events/rank0.jsonl"])
def test_a_run_is_not_resumed_through_a_link(
    name: str, copied: Path, pbkd: Pbkd, tmp_path: Path
) -> None:
    (copied / "README.md").unlink()  # as if the run had stopped before
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "teacher-fed").mkdir(parents=True)
    path = copied / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere)
    ended = pbkd("run", "--resume", copied)
    assert (ended.code, ended.err) == (
        2,
        f"pbkd: '{path}' is a link: put the file itself there to resume.\n",
    )
    assert [file.name for file in elsewhere.rglob("*")] == ["teacher-fed"]
