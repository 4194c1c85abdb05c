from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pbkd.core.files import write_file
from pbkd.errors import RunFolderError
from pbkd.execution.remote.folder_sync import Marks, Parcel, marks, pack, unpack, written
from pbkd.runs.events import record


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A run's folder, with what belongs to the processes of one machine in it too."""
    folder = tmp_path / "home"
    for name in ("config.yaml", "initial/conv1.safetensors", "heartbeats/7", "logs/0.log", "lock"):
        write_file(folder / name, name.encode())
    write_file(folder / ".config.yaml.9.partial", b"torn")
    record(folder, "host", "resumed")
    return folder


def test_a_copy_has_what_a_worker_may_need(home: Path, tmp_path: Path) -> None:
    parcel = pack(home)
    assert list(parcel) == ["config.yaml", "initial/conv1.safetensors", "events/host.jsonl"]
    unpack(parcel, tmp_path / "away")
    assert pack(tmp_path / "away") == parcel


def seen(folder: Path, before: Marks) -> list[Parcel]:
    """Return what a worker that has stopped had written."""
    stop = threading.Event()
    stop.set()
    return list(written(folder, before, stop))


def test_what_is_written_elsewhere_is_as_if_written_at_home(home: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    unpack(pack(home), away)
    record(away, "rank1", "earlier")
    before = marks(away)
    record(away, "rank1", "block", block="conv1")
    write_file(away / "teacher-fed" / "conv1.safetensors", b"trained")
    write_file(away / "config.yaml", b"changed")
    (away / "initial" / "conv1.safetensors").unlink()
    (parcel,) = seen(away, before)
    *files, last = parcel
    assert sorted(files) == [
        "config.yaml", "initial/conv1.safetensors", "teacher-fed/conv1.safetensors"
    ]  # fmt: skip
    assert last == "events/rank1.jsonl"  # an event tells of files that are there
    unpack(parcel, home)
    assert (home / "teacher-fed" / "conv1.safetensors").read_bytes() == b"trained"
    assert (home / "config.yaml").read_bytes() == b"changed"
    assert not (home / "initial" / "conv1.safetensors").exists()
    (line,) = (home / "events" / "rank1.jsonl").read_bytes().splitlines()
    assert b'"conv1"' in line  # and not the one that was there before


def test_a_file_that_takes_another_ones_place_is_seen(home: Path) -> None:
    before = marks(home)
    write_file(home / "config.yaml", b"config.yml!")  # of the same length
    assert seen(home, before) == [{"config.yaml": b"config.yml!"}]


def test_nothing_new_is_no_parcel(home: Path) -> None:
    assert seen(home, marks(home)) == []


@pytest.mark.parametrize("name", ["../config.yaml", "/etc/pbkd", "a/../../b"])
def test_no_parcel_reaches_out_of_its_folder(name: str, home: Path) -> None:
    with pytest.raises(RunFolderError, match="outside of the folder"):
        unpack({name: b""}, home)
