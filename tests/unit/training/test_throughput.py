from __future__ import annotations

import itertools
from typing import Any

import pytest

from pbkd.training.throughput import begin_job


def test_a_job_is_told_of_and_then_its_steps_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    clock = itertools.count(100.0, 2.0)  # seconds: every look at it is two later
    monkeypatch.setattr("pbkd.training.throughput.time.monotonic", lambda: next(clock))
    pace = begin_job(
        lambda event, **facts: told.append((event, facts)),
        "teacher-fed",
        ["a", "b"],
        begun=1,
        epochs=3,
        steps=4,
        images=64,
    )
    sizes = {"begun": 1, "epochs": 3, "steps": 4, "images": 64}
    assert told == [("job", {"phase": "teacher-fed", "blocks": ["a", "b"], **sizes})]
    assert [list(pace(epoch)) for epoch in ("wxyz", "WXYZ")] == [list("wxyz"), list("WXYZ")]
    counts = [facts["steps"] for event, facts in told[1:] if event == "steps"]
    assert counts == [4 + 3, 4 + 6]  # it is looked at once more where a count is told
    assert all(facts["phase"] == "teacher-fed" for _, facts in told[1:])


def test_a_step_counts_only_once_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("pbkd.training.throughput._EVERY", 0.0)

    def tell(event: str, **facts: Any) -> None:
        if event == "steps":
            told.append(facts["steps"])

    items = begin_job(tell, "retry", ["a"], begun=0, epochs=1, steps=2, images=1)("xy")
    assert (next(items), told) == ("x", [])
    assert (next(items), told) == ("y", [1])
    assert (next(items, None), told) == (None, [1, 2])
