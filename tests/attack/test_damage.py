"""A file of a run folder is damaged: the right result, or a sentence that says so, comes of it.

A drawn sample of what `python -m tests.soak.damaged_runs` tries in full.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.soak.damaged_runs import (
    COMMANDS,
    WAYS,
    attempt,
    every_file,
    make_runs,
    verdict,
    whole_outcomes,
)

if TYPE_CHECKING:
    from pathlib import Path

SHARES = {"resume": 3, "status": 12, "report": 8, "load": 12}


@pytest.mark.parametrize(
    ("states", "times"),
    [
        pytest.param(("stopped late", "finished"), 1, id="sample"),
        pytest.param(
            ("stopped early", "stopped late", "finished"), 4, id="more", marks=pytest.mark.slow
        ),
    ],
)
def test_damage_is_told_or_changes_nothing(
    states: tuple[str, ...], times: int, tmp_path: Path
) -> None:
    runs = make_runs(tmp_path, states)
    whole = whole_outcomes(runs, tmp_path)
    chance = random.Random(21)
    counts: dict[str, int] = {}
    for command in COMMANDS:
        stopped = [state for state in states if (state == "finished") != (command == "resume")]
        for seed in range(times * SHARES[command]):
            state = chance.choice(stopped if command != "status" else states)
            file, way = chance.choice(every_file(runs[state])), chance.choice(list(WAYS))
            found = attempt(runs[state], tmp_path, file, way, command, seed)
            came = verdict(found, whole[state, command])
            assert came != "SILENT", (state, file, way, command, found)
            counts[came] = counts.get(came, 0) + 1
    assert counts.get("refused"), counts
    assert counts.get("same"), counts


@pytest.mark.parametrize("way", WAYS)
def test_a_finished_run_with_a_damaged_student_is_not_called_finished(
    way: str, finished: Path, tmp_path: Path
) -> None:
    files = ["student/config.json", "student/model.safetensors"]
    if way in ("cut in half", "one bit flipped"):
        files.append("result.json")
    for file in files:
        assert attempt(finished, tmp_path, file, way, "resume").result is None, file
