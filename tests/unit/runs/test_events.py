from __future__ import annotations

import errno
import io
import json
import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import Event
from pbkd.core.files import read_json, write_file, write_json
from pbkd.errors import RunFolderError
from pbkd.runs.events import follow_events, new_events, read_events, record
from pbkd.runs.folder import new_run_folder

if TYPE_CHECKING:
    from collections.abc import Callable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_folder_is_named_after_the_teacher_and_the_time(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path / "deep" / "runs", "timm:hf/resnet10t.c3_in1k")
    assert folder.is_dir()
    name, _, stamp = folder.name.partition("c3_in1k-")
    assert name == "timm-hf-resnet10t."
    assert abs(time.mktime(time.strptime(stamp, "%Y%m%d-%H%M%S")) - time.time()) < 60


def test_run_folders_of_the_same_second_are_different(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.runs.folder.time.strftime", lambda _format: "NOW")
    folders = [new_run_folder(tmp_path, "vgg") for _ in range(3)]
    assert [folder.name for folder in folders] == ["vgg-NOW", "vgg-NOW-1", "vgg-NOW-2"]


def test_latest_is_the_newest_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = new_run_folder(tmp_path, name)
        (folder / "mark").write_text(name)
        assert (tmp_path / "latest" / "mark").read_text() == name
        assert names(folder) == ["mark"]


def test_latest_is_found_again_after_its_run_was_deleted_or_all_runs_were_moved(
    tmp_path: Path,
) -> None:
    new_run_folder(tmp_path / "runs", "one").rmdir()
    folder = new_run_folder(tmp_path / "runs", "two")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve().name == folder.name


def test_a_file_or_folder_that_happens_to_be_called_latest_stays(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("mine")
    assert new_run_folder(tmp_path, "one").is_dir()
    assert (tmp_path / "latest" / "mine").read_text() == "mine"


def test_a_run_needs_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert new_run_folder(tmp_path, "one").is_dir()


def test_where_no_folder_can_be_it_is_told(tmp_path: Path) -> None:
    # Permissions do not stop root, so the tests put a file where a folder is needed.
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "runs"):
        with pytest.raises(RunFolderError, match=f"'{out}' cannot hold a run folder: "):
            new_run_folder(out, "vgg")
    with pytest.raises(RunFolderError, match=r"file/x/y' cannot be written: Not a directory\.$"):
        write_file(file / "x" / "y", b"")
    with pytest.raises(RunFolderError, match=r"rank0\.jsonl' cannot be written: Not a directory"):
        record(file, "rank0", "started")


def test_a_file_is_written_with_its_folders_and_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b", b"one")
    write_file(tmp_path / "a" / "b", b"two")
    assert (tmp_path / "a" / "b").read_bytes() == b"two"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, kind: type[BaseException]
) -> None:
    write_file(tmp_path / "file", b"old")

    def fail(*_args: object) -> None:
        raise kind(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(failing, fail)
    wanted = RunFolderError if kind is OSError else KeyboardInterrupt
    with pytest.raises(wanted, match="No space left on device"):
        write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file, sizes = tmp_path / "file", set()
    contents = [b"a" * 100_000, b"b" * 200_000]
    write_file(file, contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(100):
            write_file(file, contents[turn % 2])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        sizes.add(len(file.read_bytes()))
    thread.join()
    assert sizes <= {100_000, 200_000}


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "ü": "\N{SNOWMAN}\ud800"}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_never_holds_what_is_no_number(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", [number])
    assert names(tmp_path) == []


def test_json_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no '.*x\.json': is this a finished run's"):
        read_json(tmp_path / "x.json")
    for content in (b'{"a": ', b"", b"\xff\xfe"):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(RunFolderError, match=r"x\.json' cannot be read: "):
            read_json(tmp_path / "x.json")
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_json(tmp_path)


def test_an_event_is_one_line_with_its_time(tmp_path: Path) -> None:
    record(tmp_path, "rank0", "epoch", block="conv1", loss=0.5)
    record(tmp_path, "rank0", "note", text="two\nlines")
    lines = (tmp_path / "events" / "rank0.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert abs(first.pop("time") - time.time()) < 60
    assert first == {"event": "epoch", "block": "conv1", "loss": 0.5}
    assert second["text"] == "two\nlines"


def by_rank(events: list[Event]) -> dict[int, list[int]]:
    numbers = defaultdict(list)
    for event in events:
        numbers[event["rank"]].append(event["number"])
    return dict(numbers)


def test_every_event_of_every_writer_is_seen_once_and_in_order(tmp_path: Path) -> None:
    seen: list[Event] = []

    def write(rank: int) -> None:
        for number in range(150):
            record(tmp_path, f"rank{rank}", "epoch", rank=rank, number=number)
            time.sleep(0.002)  # long enough in all for several reads while they write

    writers = [threading.Thread(target=write, args=(rank,)) for rank in range(4)]
    with follow_events(tmp_path, seen.append):
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
    assert by_rank(seen) == {rank: list(range(150)) for rank in range(4)}


def test_events_are_seen_while_the_work_goes_on(tmp_path: Path) -> None:
    arrived = threading.Event()
    with follow_events(tmp_path, lambda _event: arrived.set()):
        record(tmp_path, "rank0", "epoch")
        assert arrived.wait(10)


def test_an_event_written_just_before_the_end_is_seen(tmp_path: Path) -> None:
    for number in range(20):
        seen: list[Event] = []
        with follow_events(tmp_path, seen.append):
            record(tmp_path, f"rank{number % 2}", "epoch", number=number)
        assert [event["number"] for event in seen] == [number]


def test_events_from_before_are_not_seen(tmp_path: Path) -> None:
    seen: list[Event] = []
    record(tmp_path, "rank0", "old")
    with follow_events(tmp_path, seen.append):
        pass
    with follow_events(tmp_path, seen.append):
        record(tmp_path, "rank0", "new")
        record(tmp_path, "rank1", "new")
    assert [event["event"] for event in seen] == ["new", "new"]


def test_events_of_ones_own_are_not_followed(tmp_path: Path) -> None:
    seen: list[Event] = []
    with follow_events(tmp_path, seen.append, own="host"):
        record(tmp_path, "host", "note")
        record(tmp_path, "rank0", "block")
    assert [event["event"] for event in seen] == ["block"]


def test_new_events_are_those_of_all_writers_since_the_last_in_the_order_of_time(
    tmp_path: Path,
) -> None:
    offsets: dict[Path, int] = {}
    assert new_events(tmp_path, offsets) == []
    record(tmp_path, "rank1", "second", time=2.0)
    record(tmp_path, "rank0", "third", time=3.0)
    record(tmp_path, "host", "first", time=1.0)
    assert [e["event"] for e in new_events(tmp_path, offsets)] == ["first", "second", "third"]
    record(tmp_path, "rank0", "fourth", folder="a fact may be called so")
    (fourth,) = new_events(tmp_path, offsets)
    assert (fourth["event"], fourth["folder"]) == ("fourth", "a fact may be called so")
    assert new_events(tmp_path, offsets) == []


def test_a_line_that_is_written_in_pieces_is_seen_once_it_is_whole(tmp_path: Path) -> None:
    seen: list[Event] = []
    (tmp_path / "events").mkdir()
    with (tmp_path / "events" / "rank0.jsonl").open("wb", buffering=0) as file:
        file.write(b'{"event": "old"}\n{"event": ')  # half a line is there at the start
        with follow_events(tmp_path, seen.append):
            time.sleep(0.15)  # longer than the period of the reads
            file.write(b'"first"}\n{"ev')
            wait_until(lambda: bool(seen))
            file.write(b'ent": "sec')
            time.sleep(0.15)
            file.write(b'ond"}\n{"event": "cut off')
    assert [event["event"] for event in seen] == ["first", "second"]


class Torn(io.BytesIO):
    """A file that grows while it is read: its second line arrives in two pieces."""

    def __next__(self) -> bytes:
        start, line = self.tell(), super().__next__()
        if start == 0 or b"second" not in line:
            return line
        self.seek(start + 5)
        return line[:5]


def test_a_line_that_is_finished_while_it_is_read_is_seen_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'{"event": "first"}\n{"event": "second"}\n{"event": "third"}\n'
    reads = iter([Torn(content)])
    seen: list[Event] = []
    with follow_events(tmp_path, seen.append):
        monkeypatch.setattr(Path, "open", lambda *_: next(reads, None) or io.BytesIO(content))
        (tmp_path / "events").mkdir()
        os.close(os.open(tmp_path / "events" / "rank0.jsonl", os.O_CREAT))
        wait_until(lambda: len(seen) > 2)
    assert [event["event"] for event in seen] == ["first", "second", "third"]


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_error_of_the_observer_surfaces(tmp_path: Path, kind: type[BaseException]) -> None:
    seen: list[Event] = []

    def fail(event: Event) -> None:
        seen.append(event)
        raise kind("the observer failed")

    with pytest.raises(kind, match="the observer failed"), follow_events(tmp_path, fail):
        record(tmp_path, "rank0", "epoch")
        record(tmp_path, "rank0", "epoch")
    assert len(seen) == 1


def test_an_error_of_the_work_comes_before_one_of_the_observer(tmp_path: Path) -> None:
    def fail(_event: Event) -> None:
        raise ValueError("the observer failed")

    with pytest.raises(RuntimeError, match="the work failed"), follow_events(tmp_path, fail):
        record(tmp_path, "rank0", "epoch")
        raise RuntimeError("the work failed")


def test_the_thread_that_follows_ends_with_the_work(tmp_path: Path) -> None:
    before = threading.active_count()
    with follow_events(tmp_path, lambda _event: None):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_torn_line_swallows_no_other_event(tmp_path: Path) -> None:
    record(tmp_path, "rank0", "first")
    with (tmp_path / "events" / "rank0.jsonl").open("a") as file:
        file.write('{"event": "to')
    record(tmp_path, "rank0", "second")
    record(tmp_path, "host", "third")
    assert [event["event"] for event in read_events(tmp_path)] == ["first", "second", "third"]
