"""Event files: written by several processes, read and followed by one."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pbkd.core.events import EpochDone, Event, Note
from pbkd.core.json_lines import json_line
from pbkd.errors import RunFolderError
from pbkd.runs.events import follow_events, new_events, read_events, record_event

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def epoch(worker: int, number: int) -> EpochDone:
    return EpochDone(worker=worker, phase="retry", block="a", epoch=number, loss=0.5)


def record_note(folder: Path, writer: str, text: str) -> None:
    record_event(folder, writer, Note(text=text))


def texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def line(text: str) -> bytes:
    return json_line({"event": "note", "time": 1.0, "text": text})


def test_an_event_is_one_line_with_its_time(tmp_path: Path) -> None:
    record_event(tmp_path, "rank0", epoch(0, 3))
    record_note(tmp_path, "rank0", "two\nlines")
    lines = (tmp_path / "events" / "rank0.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert abs(first.pop("time") - time.time()) < 60
    assert len(first.pop("crc32")) == 8
    assert first == {
        "event": "epoch", "phase": "retry", "worker": 0, "block": "a", "epoch": 3, "loss": 0.5
    }  # fmt: skip
    assert second["text"] == "two\nlines"


def test_an_event_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"rank0\.jsonl' cannot be written: Not a directory"):
        record_note(tmp_path / "file", "rank0", "begun")


def by_rank(events: list[Event]) -> dict[int, list[int]]:
    numbers = defaultdict(list)
    for event in events:
        assert isinstance(event, EpochDone)
        assert event.worker is not None
        numbers[event.worker].append(event.epoch)
    return dict(numbers)


def test_every_event_of_every_writer_is_seen_once_and_in_order(tmp_path: Path) -> None:
    seen: list[Event] = []

    def write(rank: int) -> None:
        for number in range(150):
            record_event(tmp_path, f"rank{rank}", epoch(rank, number))
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
        record_note(tmp_path, "rank0", "begun")
        assert arrived.wait(10)


def test_an_event_written_just_before_the_end_is_seen(tmp_path: Path) -> None:
    for number in range(20):
        seen: list[Event] = []
        with follow_events(tmp_path, seen.append):
            record_note(tmp_path, f"rank{number % 2}", str(number))
        assert texts(seen) == [str(number)]


def test_events_from_before_are_not_seen(tmp_path: Path) -> None:
    seen: list[Event] = []
    record_note(tmp_path, "rank0", "old")
    with follow_events(tmp_path, seen.append):
        pass
    with follow_events(tmp_path, seen.append):
        record_note(tmp_path, "rank0", "new")
        record_note(tmp_path, "rank1", "new")
    assert texts(seen) == ["new", "new"]


def test_events_of_ones_own_are_not_followed(tmp_path: Path) -> None:
    seen: list[Event] = []
    with follow_events(tmp_path, seen.append, skip="host"):
        record_note(tmp_path, "host", "a note")
        record_note(tmp_path, "rank0", "block")
    assert texts(seen) == ["block"]


def test_new_events_are_those_of_all_writers_since_the_last_in_the_order_of_time(
    tmp_path: Path,
) -> None:
    offsets: dict[Path, int] = {}
    assert new_events(tmp_path, offsets) == []
    record_event(tmp_path, "rank1", Note(time=2.0, text="second"))
    record_event(tmp_path, "rank0", Note(time=3.0, text="third"))
    record_event(tmp_path, "host", Note(time=1.0, text="first"))
    assert texts(new_events(tmp_path, offsets)) == ["first", "second", "third"]
    record_note(tmp_path, "rank0", "fourth")
    assert texts(new_events(tmp_path, offsets)) == ["fourth"]
    assert new_events(tmp_path, offsets) == []


def test_a_line_that_is_written_in_pieces_is_seen_once_it_is_whole(tmp_path: Path) -> None:
    seen: list[Event] = []
    (tmp_path / "events").mkdir()
    with (tmp_path / "events" / "rank0.jsonl").open("wb", buffering=0) as file:
        first, second = line("first"), line("second")
        file.write(line("old") + first[:10])  # half a line is there at the start
        with follow_events(tmp_path, seen.append):
            time.sleep(0.15)  # longer than the period of the reads
            file.write(first[10:] + second[:4])
            wait_until(lambda: bool(seen))
            file.write(second[4:20])
            time.sleep(0.15)
            file.write(second[20:] + line("cut off")[:-5])
    assert texts(seen) == ["first", "second"]


class Torn(io.BytesIO):
    """A file that grows while it is read: its second line arrives in two pieces."""

    def __next__(self) -> bytes:
        start, whole = self.tell(), super().__next__()
        if start == 0 or b"second" not in whole:
            return whole
        self.seek(start + 5)
        return whole[:5]


def test_a_line_that_is_finished_while_it_is_read_is_seen_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"".join(map(line, ("first", "second", "third")))
    reads = iter([Torn(content)])
    seen: list[Event] = []
    with follow_events(tmp_path, seen.append):
        reading = "pbkd.runs.events.open_file"
        monkeypatch.setattr(reading, lambda _path: next(reads, None) or io.BytesIO(content))
        (tmp_path / "events").mkdir()
        os.close(os.open(tmp_path / "events" / "rank0.jsonl", os.O_CREAT))
        wait_until(lambda: len(seen) > 2)
    assert texts(seen) == ["first", "second", "third"]


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_error_of_the_observer_surfaces(tmp_path: Path, kind: type[BaseException]) -> None:
    seen: list[Event] = []

    def fail(event: Event) -> None:
        seen.append(event)
        raise kind("the observer failed")

    with pytest.raises(kind, match="the observer failed"), follow_events(tmp_path, fail):
        record_note(tmp_path, "rank0", "begun")
        record_note(tmp_path, "rank0", "begun")
    assert len(seen) == 1


def test_an_error_of_the_work_comes_before_one_of_the_observer(tmp_path: Path) -> None:
    def fail(_event: Event) -> None:
        raise ValueError("the observer failed")

    with pytest.raises(RuntimeError, match="the work failed"), follow_events(tmp_path, fail):
        record_note(tmp_path, "rank0", "begun")
        raise RuntimeError("the work failed")


def test_the_thread_that_follows_ends_with_the_work(tmp_path: Path) -> None:
    before = threading.active_count()
    with follow_events(tmp_path, lambda _event: None):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_torn_line_swallows_no_other_event(tmp_path: Path) -> None:
    record_note(tmp_path, "rank0", "first")
    with (tmp_path / "events" / "rank0.jsonl").open("a") as file:
        file.write('{"event": "to')
    record_note(tmp_path, "rank0", "second")
    record_note(tmp_path, "host", "third")
    assert texts(read_events(tmp_path)) == ["first", "second", "third"]


def test_lines_that_are_damaged_or_unknown_are_skipped(tmp_path: Path) -> None:
    record_note(tmp_path, "rank0", "first")
    with (tmp_path / "events" / "rank0.jsonl").open("ab") as file:
        file.write(b'{"event": "note", "time": 1.0, "text": 7}\n')
        file.write(b'{"event": "note", "text": "without a time"}\n')
        file.write(b'{"event": "unheard of", "time": 1.0}\n')
        file.write(b"[1]\n\xff\n\n" + b"[" * 100_000 + b"\n")
    record_note(tmp_path, "rank0", "second")
    assert texts(read_events(tmp_path)) == ["first", "second"]
    assert texts(new_events(tmp_path, {})) == ["first", "second"]
