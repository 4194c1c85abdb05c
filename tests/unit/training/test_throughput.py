from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pbkd.core.events import Event, JobStarted, StepsDone
from pbkd.training.throughput import begin_job

JOB = JobStarted(
    worker=1, phase="teacher-fed", blocks=("a", "b"), begun=1, epochs=3, steps=4, images=64
)


def test_a_job_is_reported_and_then_its_steps_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[Event] = []
    clock = itertools.count(100.0, 2.0)  # seconds: every look at it is two later
    monkeypatch.setattr("pbkd.training.throughput.time.monotonic", lambda: next(clock))
    pace = begin_job(JOB, events.append)
    assert events == [JOB]
    assert [list(pace(epoch)) for epoch in ("wxyz", "WXYZ")] == [list("wxyz"), list("WXYZ")]
    counts = [event for event in events[1:] if isinstance(event, StepsDone)]
    assert counts == events[1:]
    # The clock is read once more where a count is emitted.
    assert [event.steps for event in counts] == [4 + 3, 4 + 6]
    assert {(event.worker, event.phase) for event in counts} == {(1, "teacher-fed")}


def test_a_step_counts_only_once_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr("pbkd.training.throughput._EVERY", 0.0)

    def emit(event: Event) -> None:
        if isinstance(event, StepsDone):
            counts.append(event.steps)

    items = begin_job(replace(JOB, begun=0), emit)("xy")
    assert (next(items), counts) == ("x", [])
    assert (next(items), counts) == ("y", [1])
    assert (next(items, None), counts) == (None, [1, 2])
