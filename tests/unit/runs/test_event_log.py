from __future__ import annotations

import json
from pathlib import Path

import pytest

from pbkd.core.event_json import to_json
from pbkd.core.events import (
    BlockScored,
    Event,
    Note,
    PhaseStarted,
    RunFinished,
    TeacherScored,
)
from pbkd.core.plain_data import finite
from pbkd.errors import RunFolderError
from pbkd.runs.events import EventLog, read_events
from pbkd.runs.finished import read_finished

SCORE = BlockScored(block="a", solo_drop=0.01, reason=None)


def test_events_of_the_host_are_recorded_even_from_before_the_folder(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = EventLog(heard.append)
    events: list[Event] = [
        PhaseStarted(phase="planning"),
        TeacherScored(name="vgg", images=3, accuracy=None, cut="vgg"),
        SCORE,
    ]
    log.emit(events[0])
    log.emit(events[1])
    log.record_in(tmp_path)
    log.emit(events[2])
    log.forward(Note(text="recorded by a worker"))
    assert heard[:3] == events
    assert len(heard) == 4
    assert read_events(tmp_path) == events
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["host.jsonl"]


def test_an_event_that_cannot_be_recorded_is_not_passed_on(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = EventLog(heard.append)
    log.record_in(tmp_path / "gone")
    with pytest.raises(RunFolderError, match=r"host\.jsonl' cannot be written"):
        log.emit(SCORE)
    assert heard == []


def test_a_result_is_plain_data_and_what_json_lacks_is_null(finished: Path) -> None:
    result = read_finished(finished).result
    event = to_json(RunFinished(result=result))
    assert event["result"] == result.to_dict()
    assert json.loads(json.dumps(event, allow_nan=False))["result"]["folder"] == result.folder
    losses = {"losses": [1.0, float("nan")], "deep": {"x": (float("inf"), "inf", 2, None, True)}}
    assert finite(losses) == {"losses": [1.0, None], "deep": {"x": [None, "inf", 2, None, True]}}
