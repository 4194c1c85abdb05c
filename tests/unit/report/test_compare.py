from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from pbkd.core.baselines import BaselineResult, BaselineTraining
from pbkd.core.results import Latency, NetworkResult, PhaseResult, RunResult
from pbkd.core.scores import PairedChange
from pbkd.report.compare import compare_csv, compare_notes, compare_rows
from pbkd.report.run_files import write_report
from pbkd.runs.baselines import add_baseline
from pbkd.runs.finished import Finished, read_finished
from tests.unit.report.test_card import BLOCK

SECONDS = {
    "planning": 1.0,
    "teacher-fed": 2.0,
    "scoring": 4.0,
    "student-fed": 8.0,
    "recalibration": 16.0,
    "fine-tuning": 32.0,
    "evaluation": 64.0,
}
RESULT = RunResult(
    folder="elsewhere/before",
    command="pbkd run seed=1 'keep=[a, b]'",
    teacher=NetworkResult(
        name="vgg",
        accuracy=0.75,
        parameters=1000,
        macs=6000,
        latencies=(Latency(0.002, 0.003, 1, 30), Latency(0.03, 0.04, 64, 30)),
        interval=(0.65, 0.83),
    ),
    student=NetworkResult(
        name="vgg student",
        accuracy=0.625,
        parameters=300,
        macs=4000,
        latencies=(Latency(0.004, 0.005, 1, 30), Latency(0.01, 0.02, 64, 30)),
    ),
    accuracies={"assembled": 0.5, "recalibrated": None, "fine-tuned": 0.625},
    blocks=(BLOCK,),
    phases=tuple(
        PhaseResult(name, seconds, 1.0, {"gpu0": 2 * seconds}, None)
        for name, seconds in SECONDS.items()
    ),
    notes=("Recalibration was not asked for.",),
    environment={"torch": "2.14"},
    candidates=(replace(BLOCK, name="conv1.1"),),
    validation={"assembled": 0.4375, "recalibrated": None, "fine-tuned": 0.6875},
    test_images=80,
    validation_images=16,
    change=PairedChange.of(both_correct=45, lost=15, gained=5, both_wrong=15),
)
SCRATCH = BaselineResult(
    method="scratch",
    network="the student with random weights",
    equal="macs",
    parameters=300,
    macs=4000,
    latencies=(Latency(0.004, 0.005, 1, 30), Latency(0.012, 0.02, 64, 30)),
    student_latencies=(Latency(0.004, 0.005, 1, 30), Latency(0.01, 0.02, 64, 30)),
    trainings=(
        BaselineTraining(
            lr=0.003,
            seed=0,
            epochs=3,
            steps=30,
            seconds=61.25,
            cpu_seconds=60.5,
            validation=0.5,
            score=0.5625,
            change=PairedChange.of(both_correct=40, lost=5, gained=10, both_wrong=25),
        ),
    ),
    lr=0.003,
    score=0.5625,
    validation=0.5,
    difference=0.0625,
    interval=(-0.03, 0.15),
    threads=1,
    max_seconds=None,
    max_cpu_seconds=62.0,
    optimiser="adamw",
    weight_decay=0.05,
    command="pbkd baseline runs/a",
    notes=("The machine was busy.",),
)


def finished(folder: Path, result: RunResult = RESULT) -> Finished:
    folder.mkdir()
    write_report(result, folder)
    return read_finished(folder)


def cells(runs: list[Finished]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(compare_csv(runs))))


def test_csv_has_every_figure_in_full_and_the_command_last(tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    (row,) = cells([run])
    assert list(row)[:2] == ["run", "teacher"]
    assert list(row)[-1] == "command"
    assert (row["run"], row["teacher"]) == ("a", "vgg")
    assert row["command"] == "pbkd run seed=1 'keep=[a, b]'"
    figures = {
        "teacher_macs": 6000,
        "student_macs": 4000,
        "macs_ratio": 1.5,
        "parameters_ratio": 1000 / 300,
        "teacher_accuracy": 0.75,
        "assembled_accuracy": 0.5,
        "assembled_validation": 0.4375,
        "fine_tuned_accuracy": 0.625,
        "fine_tuned_validation": 0.6875,
        "student_accuracy": 0.625,
        "points_lost": 12.5,
        "points_lost_low": 1.564645,
        "points_lost_high": 22.82560,
        "test_images": 80,
        "teacher_accuracy_low": 0.65,
        "teacher_accuracy_high": 0.83,
        "teacher_latency_seconds_batch_1": 0.002,
        "latency_ratio_batch_1": 0.5,
        "latency_ratio_batch_64": 3.0,
        "seconds": 127,
        "blockwise_seconds": 10,
        "fine_tuning_seconds": 32,
        "joules_gpu0": 254,
    }
    assert {name: float(row[name]) for name in figures} == pytest.approx(figures, rel=1e-5)
    assert row["parameters_ratio"] == str(1000 / 300)
    assert row["recalibrated_accuracy"] == row["joules_reason"] == ""
    assert not any("scratch" in name for name in row)


def test_the_table_says_the_same_for_people(tmp_path: Path) -> None:
    heads, (row,) = compare_rows([finished(tmp_path / "a")])
    assert dict(zip(heads, row, strict=True)) == {
        "run": "a",
        "teacher": "vgg",
        "images": "80",
        "teacher's accuracy": "75.00 % (64.5 to 83.2)",
        "student's accuracy": "62.50 % (51.5 to 72.3)",
        "change in points": "-12.50 (-22.8 to -1.6)",
        "assembled": "50.00 %",
        "recalibrated": "not measured",
        "fine-tuned": "62.50 %",
        "MACs": "1.50x",
        "parameters": "3.33x",
        "latency at 1": "0.50x",
        "latency at 64": "3.00x",
        "seconds": "127.0",
        "blockwise s": "10.0",
        "tuning s": "32.0",
        "joules": "gpu0 254.0",
    }


def test_rows_are_in_the_order_given_and_columns_those_of_all_runs(tmp_path: Path) -> None:
    first = finished(tmp_path / "b")
    large = replace(RESULT.teacher, latencies=(Latency(0.5, 0.5, 128, 30),))
    other = replace(RESULT, teacher=large, student=replace(large, name="x"))
    second = finished(tmp_path / "a", other)
    rows = cells([first, second, first])
    assert [row["run"] for row in rows] == ["b", "a", "b"]
    assert [row["latency_ratio_batch_64"] for row in rows[:2]] == ["3.0", ""]
    assert [row["latency_ratio_batch_128"] for row in rows[:2]] == ["", "1.0"]


def test_the_strongest_baseline_stands_beside_the_student(tmp_path: Path) -> None:
    without = finished(tmp_path / "a")
    finished(tmp_path / "b")
    add_baseline(tmp_path / "b", replace(SCRATCH, method="distillation", score=0.5))
    add_baseline(tmp_path / "b", replace(SCRATCH, score=0.25))
    timed = replace(SCRATCH, method="pruning", equal="milliseconds", score=0.25)
    add_baseline(tmp_path / "b", timed)
    add_baseline(tmp_path / "b", replace(timed, equal="macs", score=0.125))
    names = ["pruning", "pruning at equal milliseconds", "distillation", "scratch"]
    assert list(add_baseline(tmp_path / "b", SCRATCH)) == names
    rows = cells([without, read_finished(tmp_path / "b")])
    figures = {
        "rival": "scratch", "rival_score": "0.5625", "rival_seconds": "61.25",
        "rival_cpu_seconds": "60.5", "rival_macs": "4000", "rival_latency_ratio_batch_64": "1.2",
        "ahead_of_rival": "0.0625", "ahead_of_rival_low": "-0.03", "ahead_of_rival_high": "0.15",
        "scratch_score": "0.5625", "distillation_score": "0.5", "pruning_score": "0.125",
        "pruning_milliseconds_score": "0.25",
    }  # fmt: skip
    assert {name: rows[1][name] for name in figures} == figures
    assert {rows[0][name] for name in figures} == {""}
    heads, (shown,) = compare_rows([read_finished(tmp_path / "b")])
    named = dict(zip(heads, shown, strict=True))
    assert named["strongest rival"] == "scratch 56.25 %"
    assert named["student ahead by"] == "+6.25 (-3.0 to 15.0)"
    assert named["rival's s"] == "61.2"


def test_what_was_not_measured_is_empty_and_has_its_reason(tmp_path: Path) -> None:
    phases = (RESULT.phases[0], replace(RESULT.phases[1], joules=None, joules_reason="no sensor"))
    run = finished(tmp_path / "a", replace(RESULT, phases=phases))
    (row,) = cells([run])
    assert "joules_gpu0" not in row  # one phase of two is not the run
    assert row["joules_reason"] == "no sensor"
    assert compare_rows([run])[1][0][-1] == "not measured"
    other = finished(tmp_path / "b", replace(RESULT, phases=phases))
    assert compare_notes([run, other]) == [
        "In brackets: 95 % intervals; that of the change is for the same images.",
        "a, b: Joules not measured: no sensor.",
    ]


def test_a_resumed_run_has_no_seconds_and_no_joules(tmp_path: Path) -> None:
    """Its phases were measured only since it was resumed: their sum would be too small."""
    finished(tmp_path / "a", replace(RESULT, resumed=1))
    run = read_finished(tmp_path / "a")
    (row,) = cells([run])
    assert row["seconds"] == row["blockwise_seconds"] == row["fine_tuning_seconds"] == ""
    assert "joules_gpu0" not in row
    assert row["joules_reason"] == "the run was resumed"
    assert compare_notes([run])[1].startswith("a: Seconds, joules not measured: ")


def test_a_student_without_macs_has_no_ratio(tmp_path: Path) -> None:
    nothing = replace(RESULT, student=replace(RESULT.student, macs=0))
    assert cells([finished(tmp_path / "a", nothing)])[0]["macs_ratio"] == ""
