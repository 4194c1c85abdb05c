from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pbkd.core.events import Note, Resumed
from pbkd.core.files import write_file
from pbkd.execution.remote.folder_sync import (
    FolderDelta,
    Snapshot,
    apply_delta,
    folder_deltas,
    pack_folder,
    take_snapshot,
)
from pbkd.runs.events import record_event


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A run's folder, with what belongs to the processes of one machine in it too."""
    folder = tmp_path / "home"
    for name in ("config.yaml", "initial/conv1.safetensors", "heartbeats/7", "logs/0.log", "lock"):
        write_file(folder / name, name.encode())
    write_file(folder / ".config.yaml.9.partial", b"torn")
    record_event(folder, "host", Resumed())
    return folder


def test_a_copy_has_what_a_worker_may_need(home: Path, tmp_path: Path) -> None:
    delta = pack_folder(home)
    assert list(delta) == ["config.yaml", "initial/conv1.safetensors", "events/host.jsonl"]
    apply_delta(delta, tmp_path / "away")
    assert pack_folder(tmp_path / "away") == delta


def changes(folder: Path, before: Snapshot) -> list[FolderDelta]:
    """Return what a worker that has stopped had written."""
    stop = threading.Event()
    stop.set()
    return list(folder_deltas(folder, before, stop))


def test_changes_of_a_copy_give_the_same_folder_at_home(home: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    apply_delta(pack_folder(home), away)
    record_event(away, "rank1", Note(text="earlier"))
    before = take_snapshot(away)
    record_event(away, "rank1", Note(text="conv1"))
    write_file(away / "teacher-fed" / "conv1.safetensors", b"trained")
    write_file(away / "config.yaml", b"changed")
    (away / "initial" / "conv1.safetensors").unlink()
    (delta,) = changes(away, before)
    *files, last = delta
    assert sorted(files) == [
        "config.yaml", "initial/conv1.safetensors", "teacher-fed/conv1.safetensors"
    ]  # fmt: skip
    assert last == "events/rank1.jsonl"  # an event tells of files that are there
    apply_delta(delta, home)
    assert (home / "teacher-fed" / "conv1.safetensors").read_bytes() == b"trained"
    assert (home / "config.yaml").read_bytes() == b"changed"
    assert not (home / "initial" / "conv1.safetensors").exists()
    (line,) = (home / "events" / "rank1.jsonl").read_bytes().splitlines()
    assert b'"conv1"' in line  # and not the one that was there before


def test_a_file_that_takes_another_ones_place_is_changes(home: Path) -> None:
    before = take_snapshot(home)
    write_file(home / "config.yaml", b"config.yml!")  # of the same length
    assert changes(home, before) == [{"config.yaml": b"config.yml!"}]


def test_nothing_new_is_no_delta(home: Path) -> None:
    assert changes(home, take_snapshot(home)) == []
