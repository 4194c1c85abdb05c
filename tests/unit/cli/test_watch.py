"""`pbkd run --json` and `pbkd watch`: the same events, from the run itself and from its folder."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from pbkd.core.event_json import to_json
from pbkd.core.events import Emit, EpochDone, Note
from pbkd.core.json_lines import append_line
from pbkd.runs.events import record_event
from pbkd.runs.lock import locked
from tests.command_line import Pbkd


@pytest.mark.parametrize("option", ["--quiet", "--plan", "--print-config"])
def test_json_does_not_go_with_what_prints_something_else(pbkd: Pbkd, option: str) -> None:
    ended = pbkd("run", "--json", option)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "pbkd: --json cannot be combined with --plan, --print-config or --quiet.\n"


def test_what_is_printed_beside_json_goes_to_standard_error(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = EpochDone(
        time=1.0, worker=0, phase="retry", block="a", epoch=1, loss=float("nan"), accuracy=0.5
    )

    def run(_config: object, _registry: object, emit: Emit, **_: object) -> None:
        print("a plugin prints")
        emit(event)

    monkeypatch.setattr("pbkd.pipeline.run.run", run)
    ended = pbkd("run", "--json")
    assert ended.err == "a plugin prints\n"
    assert ended.events == [{**to_json(event), "loss": None}]


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that has begun."""
    (tmp_path / "config.yaml").touch()
    record_event(tmp_path, "host", Note(text="begun"))
    return tmp_path


def test_a_run_is_followed_until_it_stops(pbkd: Pbkd, begun: Path) -> None:
    def go_on() -> None:
        with locked(begun):
            ready.set()
            assert asked.wait(20)
            for number in range(3):
                record_event(begun, f"rank{number % 2}", Note(text=f"number {number}"))

    ready, asked = threading.Event(), threading.Event()
    thread = threading.Thread(target=go_on)
    thread.start()
    assert ready.wait(20)
    threading.Timer(0.5, asked.set).start()  # while it is watched
    ended = pbkd("watch", begun)
    thread.join()
    stopped = f"stopped; go on with `pbkd run --resume {begun}`"
    assert ended.out.splitlines() == ["begun", *(f"number {n}" for n in range(3)), stopped]
    assert (ended.code, ended.err) == (1, "")
    ended = pbkd("watch", "--json", begun)
    assert [event["event"] for event in ended.events] == ["note"] * 4 + ["stopped"]
    assert ended.code == 1


def test_ctrl_c_ends_the_watching_alone(
    pbkd: Pbkd, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pbkd.cli.watch.time.sleep", interrupted)
    with locked(begun):
        ended = pbkd("watch", begun)
    assert (ended.code, ended.out) == (130, "begun\n")
    assert ended.err == f"pbkd: no longer watching '{begun}'; the run is not affected.\n"


def test_what_is_no_run_is_a_mistake(pbkd: Pbkd, tmp_path: Path) -> None:
    ended = pbkd("watch", tmp_path / "none")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"pbkd: '{tmp_path / 'none'}' is not a run folder: ")


def test_damaged_events_are_skipped(pbkd: Pbkd, begun: Path) -> None:
    append_line(begun / "events" / "host.jsonl", {"event": "score", "time": 1.0, "block": 7})
    ended = pbkd("watch", begun)
    stopped = f"stopped; go on with `pbkd run --resume {begun}`"
    assert (ended.code, ended.out.splitlines(), ended.err) == (1, ["begun", stopped], "")
