from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pbkd.core.files import write_json
from pbkd.core.results import RunResult
from pbkd.errors import RunFolderError
from pbkd.runs.finished import Finished, read_finished
from tests.unit.report.test_compare import RESULT, SCRATCH, finished


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    assert run == Finished("a", RESULT, {}, resumed=False)


def test_the_phases_add_up(tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    assert run.seconds == 127
    assert run.blockwise_seconds == 10
    assert run.fine_tuning_seconds == 32
    assert run.training_seconds == 62
    assert run.predicted_seconds is None


def test_the_prediction_counts_what_was_not_predicted_as_it_was() -> None:
    first, second, *others = RESULT.phases
    phases = (first, replace(second, predicted_seconds=second.seconds + 3), *others)
    run = Finished("a", replace(RESULT, phases=phases), {}, resumed=False)
    assert run.predicted_seconds == 127 + 3
    assert replace(run, resumed=True).predicted_seconds is None


@pytest.mark.parametrize("gone", ["result.json", "README.md"])
def test_a_run_that_has_not_finished_is_refused(tmp_path: Path, gone: str) -> None:
    finished(tmp_path / "a")
    (tmp_path / "a" / gone).unlink()
    with pytest.raises(RunFolderError, match="a' holds no finished run: name the folder of a run"):
        read_finished(tmp_path / "a")


def plain(result: RunResult) -> dict[str, Any]:
    return json.loads(json.dumps(result.to_dict()))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {**plain(RESULT), "student": None},
        {**plain(RESULT), "phases": [{"name": "planning"}]},
        {**plain(RESULT), "phases": [{**asdict(RESULT.phases[0]), "joules": ["gpu0"]}]},
        {**plain(RESULT), "accuracies": {"assembled": "good"}},
        {**plain(RESULT), "change": {"lost": 1}},
        {**plain(RESULT), "change": {**plain(RESULT)["change"], "lost": "one"}},
        {**plain(RESULT), "change": {**plain(RESULT)["change"], "interval": [0.5]}},
        {**plain(RESULT), "change": {**plain(RESULT)["change"], "difference": 1.5}},
        {**plain(RESULT), "accuracies": {"assembled": 1.5}},
        {**plain(RESULT), "test_images": "many"},
        {**plain(RESULT), "classes": [{"label": 0}]},
        {**plain(RESULT), "teacher": {**asdict(RESULT.teacher), "macs": "many"}},
    ],
)
def test_a_result_of_something_else_is_refused(tmp_path: Path, tree: dict[str, Any]) -> None:
    finished(tmp_path / "a")
    write_json(tmp_path / "a" / "result.json", tree)
    message = "result.json' is not a result of this version of pbkd"
    with pytest.raises(RunFolderError, match=message):
        read_finished(tmp_path / "a")


@pytest.mark.parametrize(
    "rows",
    [
        3,
        [3],
        [{"method": "scratch"}],
        [{**asdict(SCRATCH), "score": 1.5}],
        [{**asdict(SCRATCH), "method": "magic"}],
        [{**asdict(SCRATCH), "trainings": []}],
        [{**asdict(SCRATCH), "lr": 0.1}],
        [{**asdict(SCRATCH), "latencies": []}],
        [{**asdict(SCRATCH), "macs": -1}],
    ],
)
def test_baselines_of_something_else_are_refused(tmp_path: Path, rows: object) -> None:
    finished(tmp_path / "a")
    write_json(tmp_path / "a" / "baselines.json", {"baselines": rows})
    with pytest.raises(RunFolderError, match="baselines.json' is not a list of baselines"):
        read_finished(tmp_path / "a")
