"""`pbkd run --json` and `pbkd watch` on a whole run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from pbkd.core.files import read_json
from tests.command_line import Pbkd


def test_every_event_of_a_run_is_a_line_of_json_and_is_in_its_folder(
    pbkd: Pbkd, quick: list[str]
) -> None:
    told = pbkd("run", "--json", *quick)
    assert (told.code, told.err) == (0, "")
    kinds = [event["event"] for event in told.events]
    wanted = ["phase", "teacher", "note", "plan", "job", "epoch", "block", "score", "result"]
    assert [kind for kind in dict.fromkeys(kinds) if kind != "steps"] == wanted
    phases = [event["phase"] for event in told.events if event["event"] == "phase"]
    result = told.events[-1]["result"]
    assert phases == [phase["name"] for phase in result["phases"]]
    folder = Path(result["folder"])
    assert result == read_json(folder / "result.json")
    plan = next(event for event in told.events if event["event"] == "plan")
    assert plan["folder"] == str(folder)
    epochs: dict[str, list[Any]] = defaultdict(list)
    for event in told.events:
        if event["event"] == "epoch":
            epochs[event["phase"]].append(event)
    for phase, total in plan["totals"].items():
        assert len(epochs[phase]) == total - (phase == "student-fed")  # one is rejected
    assert [event["epoch"] for event in epochs["fine-tuning"]] == [1]
    assert list(epochs) == ["teacher-fed", "student-fed", "fine-tuning"]

    again = pbkd("watch", folder, "--json")
    assert (again.code, again.err) == (0, "")
    by_time = sorted(told.events[:-1], key=lambda event: event["time"])
    assert again.events[:-1] == by_time
    assert again.events[-1]["result"] == result
    lines = pbkd("watch", folder).out.splitlines()
    assert f"run folder: {folder}" in lines
    assert lines[-1] == f"everything is in {folder}; README.md there is the model card"
    (line,) = pbkd("run", "--json", "--resume", folder).events
    assert (line["event"], line["result"]) == ("result", result)
