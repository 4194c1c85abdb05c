from __future__ import annotations

import json
from pathlib import Path

import pytest

from pbkd.core.events import Event
from pbkd.errors import RunFolderError
from pbkd.runs.events import EventLog, finite, plain, read_events
from pbkd.runs.finished import read_finished


def test_what_the_host_tells_is_recorded_even_from_before_the_folder(tmp_path: Path) -> None:
    heard: list[Event] = []
    telling = EventLog(heard.append)
    telling({"event": "teacher", "images": 3})
    telling({"event": "plan", "folder": "runs/1", "plan": object()})
    telling.record_in(tmp_path)
    telling({"event": "score", "block": "a"})
    telling({"event": "block", "time": 1.0, "block": "b"})  # a worker has recorded it
    assert [event["event"] for event in heard] == ["teacher", "plan", "score", "block"]
    recorded = read_events(tmp_path)
    assert [event["event"] for event in recorded] == ["teacher", "plan", "score"]
    assert [plain(event) for event in heard[:3]] == recorded
    assert "plan" in heard[1]
    assert "plan" not in recorded[1]
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["host.jsonl"]


def test_an_event_that_cannot_be_recorded_is_told_to_nobody(tmp_path: Path) -> None:
    heard: list[Event] = []
    telling = EventLog(heard.append)
    telling.record_in(tmp_path / "gone")
    with pytest.raises(RunFolderError, match=r"host\.jsonl' cannot be written"):
        telling({"event": "score"})
    assert heard == []


def test_a_result_is_plain_data_and_what_json_lacks_is_null(finished: Path) -> None:
    result = read_finished(finished).result
    event = plain({"event": "result", "result": result})
    assert event["result"] == result.to_dict()
    assert json.loads(json.dumps(event, allow_nan=False))["result"]["folder"] == result.folder
    losses = {"losses": [1.0, float("nan")], "deep": {"x": (float("inf"), "inf", 2, None, True)}}
    assert finite(losses) == {"losses": [1.0, None], "deep": {"x": [None, "inf", 2, None, True]}}
