"""The threads of observers: a bounded backlog, and an end that nobody can hold up."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from pbkd import RunInfo
from pbkd.core.events import EpochDone, Event, Note, PlanMade, RunFinished, StepsDone
from pbkd.core.results import RunResult
from pbkd.plugin import observer_thread, observers
from pbkd.plugin.observers import Observers, observing

RUN = RunInfo(folder=Path("/runs/one"), identity={}, configuration={"workers": 1}, plan={})
RESULT = cast(RunResult, {"accuracy": 0.9})


def epoch(number: int) -> Event:
    return EpochDone(worker=0, phase="teacher-fed", block="a", epoch=number, loss=0.5)


def steps(number: int) -> Event:
    return StepsDone(worker=0, phase="teacher-fed", steps=number)


class Recorder:
    """Writes down what it is called with, after `gate` is set."""

    name: ClassVar[str] = "recorder"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls: list[tuple[str, Any]] = []

    def run_started(self, run: RunInfo) -> None:
        self.calls.append(("run_started", run))
        self.gate.wait(10)

    def event(self, event: Event, run: RunInfo) -> None:
        assert run.folder == RUN.folder
        self.calls.append(("event", event))

    def block_finished(self, result: Any, run: RunInfo) -> None:  # noqa: ARG002
        self.calls.append(("block_finished", result))

    def run_finished(self, result: Any, run: RunInfo) -> None:  # noqa: ARG002
        self.calls.append(("run_finished", result))


@pytest.fixture
def heard() -> list[Event]:
    return []


def notes(heard: list[Event]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Note)]


def group(heard: list[Event], *followers: Any) -> Observers:
    return Observers(followers, heard.append)


def test_calls_come_in_order_and_earlier_events_after_the_start(heard: list[Event]) -> None:
    recorder = Recorder()
    followers = group(heard, recorder)
    followers.event(epoch(1))
    followers.run_started(RUN)
    recorder.gate.set()
    followers.block_finished(cast(Any, {"name": "a"}))
    followers.event(epoch(2))
    followers.event(RunFinished(result=RESULT))
    followers.run_finished(RESULT)
    names = ["run_started", "event", "block_finished", "event", "run_finished"]
    assert [name for name, _ in recorder.calls] == names
    assert recorder.calls[0][1] == RUN
    assert recorder.calls[0][1] is not RUN
    assert recorder.calls[2][1] == {"name": "a"}
    assert notes(heard) == []


def test_a_full_backlog_drops_frequent_events_first_and_counts(
    heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer_thread, "MOST_EVENTS", 3)
    recorder = Recorder()
    followers = group(heard, recorder)
    followers.run_started(RUN)
    for event in (epoch(1), steps(1), epoch(2), steps(2), epoch(3), epoch(4)):
        followers.event(event)
    followers.block_finished(cast(Any, "never dropped"))
    recorder.gate.set()
    followers.run_finished(RESULT)
    kept = [value.epoch for name, value in recorder.calls if name == "event"]
    assert kept == [2, 3, 4]
    assert ("block_finished", "never dropped") in recorder.calls
    (note,) = notes(heard)
    assert note.startswith("The observer 'recorder' of the plugin '")
    assert note.endswith("was slow: it missed 3 event(s).")


def test_a_run_does_not_wait_for_its_observers(heard: list[Event]) -> None:
    recorder = Recorder()
    with observing([recorder], heard.append) as followers:
        followers.run_started(RUN)
        start = time.perf_counter()
        for number in range(3000):
            followers.event(steps(number))
        assert time.perf_counter() - start < 5
    recorder.gate.set()


def test_a_hanging_observer_is_left_behind_and_others_are_not(
    heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"_NOTICE": 0.05, "_BACKLOG": 0.1, "_LIMIT": 0.2}.items():
        monkeypatch.setattr(observers, name, seconds)
    hanging, sound = Recorder(), Recorder()
    sound.gate.set()
    followers = group(heard, hanging, sound)
    followers.run_started(RUN)
    followers.event(epoch(1))
    start = time.monotonic()
    followers.run_finished(RESULT)
    assert time.monotonic() - start < 5
    assert [name for name, _ in sound.calls] == ["run_started", "event", "run_finished"]
    waiting, late, missed = (note.partition(" of the plugin ")[2] for note in notes(heard))
    assert notes(heard)[0].startswith("Waiting at most 0.2 s for the observer 'recorder'")
    assert late.endswith("did not end in 0.2 s: it is in run_started.")
    assert missed.endswith("missed 1 event(s).")
    assert waiting
    hanging.gate.set()
    time.sleep(0.05)
    assert [name for name, _ in hanging.calls] == ["run_started"]


@pytest.mark.parametrize("error", [ValueError("no\nnetwork"), SystemExit(3), KeyboardInterrupt()])
def test_each_method_that_raises_is_noted_once(heard: list[Event], error: BaseException) -> None:
    class Sick(Recorder):
        def run_started(self, run: RunInfo) -> None:  # noqa: ARG002
            raise error

        def event(self, event: Event, run: RunInfo) -> None:  # noqa: ARG002
            raise error

        def run_finished(self, result: Any, run: RunInfo) -> None:  # noqa: ARG002
            raise error

    followers = group(heard, Sick())
    followers.run_started(RUN)
    followers.event(epoch(1))
    followers.event(epoch(2))
    followers.run_finished(RESULT)
    reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
    who = f"The observer 'recorder' of the plugin '{__name__}'"
    methods = "run_started", "event", "run_finished"
    assert notes(heard) == [f"{who} failed in {method} ({reason})." for method in methods]
    assert list(followers.notes) == notes(heard)


def test_what_an_observer_changes_changes_nothing_for_others(heard: list[Event]) -> None:
    class Vandal(Recorder):
        def run_started(self, run: RunInfo) -> None:
            cast(Any, run.configuration).clear()
            object.__setattr__(run, "folder", None)

        def event(self, event: Event, run: RunInfo) -> None:  # noqa: ARG002
            object.__setattr__(event, "epochs", None)

    recorder = Recorder()
    recorder.gate.set()
    plan = PlanMade(
        folder="x", scheduler="y", feed="z", seconds=1.0, workers=(), blocks=(),
        epochs={"teacher-fed": 1}, totals={}, lanes=(), plan=object(),
    )  # fmt: skip
    followers = group(heard, Vandal(), recorder)
    followers.run_started(RUN)
    followers.event(plan)
    followers.run_finished(RESULT)
    assert RUN.configuration == {"workers": 1}
    assert recorder.calls[0][1] == RUN
    assert recorder.calls[1][1] == plan
    assert recorder.calls[1][1].plan is None
    assert plan.plan is not None


def test_the_cpu_time_of_observers_is_known_while_they_compute(heard: list[Event]) -> None:
    class Busy(Recorder):
        def run_started(self, run: RunInfo) -> None:  # noqa: ARG002
            while time.thread_time() < 0.1:
                pass
            self.gate.wait(10)

    observer = Busy()
    followers = group(heard, observer)
    assert followers.cpu_seconds() == 0
    followers.run_started(RUN)
    deadline = time.monotonic() + 10
    while followers.cpu_seconds() < 0.1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 0.1 <= followers.cpu_seconds() < 1
    observer.gate.set()
    followers.run_finished(RESULT)
    assert 0.1 <= followers.cpu_seconds() < 1


def test_no_call_begins_while_observers_are_paused(heard: list[Event]) -> None:
    recorder = Recorder()
    recorder.gate.set()
    followers = group(heard, recorder)
    with followers.paused():
        followers.run_started(RUN)
        followers.event(epoch(1))
        time.sleep(0.05)
        assert recorder.calls == []
    followers.run_finished(RESULT)
    assert [name for name, _ in recorder.calls] == ["run_started", "event", "run_finished"]


def test_an_observer_that_computes_much_is_noted(
    heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "_BUSY", 0.01)

    class Busy(Recorder):
        def run_started(self, run: RunInfo) -> None:  # noqa: ARG002
            while time.thread_time() < 0.05:
                pass

    followers = group(heard, Busy())
    followers.run_started(RUN)
    followers.run_finished(RESULT)
    (note,) = followers.notes
    assert note.endswith("has computed for 0.1 s, beside the run: joules include it.")
