"""`pbkd run --json` and `pbkd watch`: the same events, from the run itself and from its folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pbkd.runs.events import record
from pbkd.runs.folder import locked
from tests.command_line import Pbkd


@pytest.mark.parametrize("option", ["--quiet", "--plan", "--print-config"])
def test_json_does_not_go_with_what_prints_something_else(pbkd: Pbkd, option: str) -> None:
    ended = pbkd("run", "--json", option)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "pbkd: --json does not go with --plan, --print-config or --quiet.\n"


def test_what_is_printed_beside_json_goes_to_standard_error(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_config: object, _registry: object, tell: Callable[..., None], **_: object) -> None:
        print("a plugin prints")
        tell({"event": "block", "time": 1.0, "losses": [float("nan")]})

    monkeypatch.setattr("pbkd.pipeline.run.run", run)
    ended = pbkd("run", "--json")
    assert ended.err == "a plugin prints\n"
    assert ended.events == [{"event": "block", "time": 1.0, "losses": [None]}]


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run that has begun."""
    (tmp_path / "config.yaml").touch()
    record(tmp_path, "host", "note", text="begun")
    return tmp_path


def test_a_run_is_followed_until_it_stops(pbkd: Pbkd, begun: Path) -> None:
    def go_on() -> None:
        with locked(begun):
            ready.set()
            assert asked.wait(20)
            for number in range(3):
                record(begun, f"rank{number % 2}", "note", text=f"number {number}")

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
        raise KeyboardInterrupt

    monkeypatch.setattr("pbkd.cli.watch.time.sleep", interrupted)
    with locked(begun):
        ended = pbkd("watch", begun)
    assert (ended.code, ended.out) == (130, "begun\n")
    assert ended.err == f"pbkd: no longer watching '{begun}'; the run is left alone.\n"


def test_what_is_no_run_is_a_mistake(pbkd: Pbkd, begun: Path, tmp_path: Path) -> None:
    ended = pbkd("watch", tmp_path / "none")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"pbkd: '{tmp_path / 'none'}' is no run's folder: ")
    record(begun, "host", "score")
    ended = pbkd("watch", begun)
    assert (ended.code, ended.out) == (2, "begun\n")
    assert ended.err == (
        f"pbkd: '{begun / 'events'}' has an event 'score' that is none of this version of pbkd.\n"
    )
