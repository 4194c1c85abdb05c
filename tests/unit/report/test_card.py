from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pbkd.core.blocks import Block, BlockCost
from pbkd.core.events import BlockTrained
from pbkd.core.files import read_json
from pbkd.core.intervals import wilson_interval
from pbkd.core.results import BlockResult, Latency, NetworkResult, PhaseResult, RunResult
from pbkd.core.scores import ClassScore, PairedChange
from pbkd.pipeline.block_results import block_result
from pbkd.planning.plan import PlannedBlock
from pbkd.report.blocks_csv import blocks_csv
from pbkd.report.card import card, comparison, joules_notes, phase_rows
from pbkd.report.class_scores import classes_csv
from pbkd.report.run_files import write_report
from pbkd.report.scores import points

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = BlockResult(
    name="conv1",
    input_shape=(3, 8, 8),
    output_shape=(4, 8, 8),
    parameters_before=8000,
    parameters_after=1000,
    macs_before=90000,
    macs_after=45000,
    replaced=True,
    reason=None,
    worker=0,
    job_seconds=1.5,
    teacher_fed_losses=(0.5, 0.25),
    student_fed_losses=(0.125,),
    solo_drop=0.0125,
    solo_interval=(-0.0111, 0.0361),
    solo_images=160,
    builder={"name": "separable", "rank": 2},
)
KEPT = replace(
    BLOCK, name="conv2", parameters_after=4000, replaced=False, reason="alone it loses too much"
)
UNTRAINED = replace(
    KEPT, name="conv3", reason="no dense a|b\nconvolution", solo_drop=None, solo_interval=None
)
TEACHER = NetworkResult(
    name="vgg",
    accuracy=0.98,
    parameters=1_000_000,
    macs=5_000_000,
    latencies=(Latency(0.0005, 0.001, 1, 30), Latency(0.004, 0.006, 64, 30)),
    interval=wilson_interval(980, 1000),
)
STUDENT = NetworkResult(
    name="vgg student",
    accuracy=0.96,
    parameters=250_000,
    macs=2_000_000,
    latencies=(Latency(0.0004, 0.002, 1, 30), Latency(0.002, 0.0024, 64, 30)),
    interval=wilson_interval(960, 1000),
)
CLASSES = (
    ClassScore(label=0, name="cat", images=600, teacher_correct=590, student_correct=590),
    ClassScore(label=2, name=None, images=400, teacher_correct=390, student_correct=370),
)
PHASES = (
    PhaseResult("planning", 1.25, 2.5, None, "rapl: no counters"),
    PhaseResult("teacher-fed", 10.0, 19.5, {"gpu0": 12.34, "cpu-package-0": 5.0}, None, 9.0),
    PhaseResult("scoring", 0.5, 0.5, {"gpu0": 1.0}, "rapl: no counters"),
)


def result(**changes: object) -> RunResult:
    whole = RunResult(
        folder="runs/vgg",
        command="pbkd run seed=1",
        teacher=TEACHER,
        student=STUDENT,
        accuracies={"assembled": 0.9, "recalibrated": None, "fine-tuned": 0.96},
        blocks=(BLOCK, KEPT, UNTRAINED),
        phases=PHASES,
        notes=("Recalibration was not asked for.",),
        environment={"torch": "2.14", "machine": "Linux"},
        test_images=1000,
        validation_images=160,
        change=PairedChange.of(both_correct=950, lost=30, gained=10, both_wrong=10),
        classes=CLASSES,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_teacher_and_student_stand_side_by_side() -> None:
    assert comparison(result()) == [
        ("test accuracy", "98.00 %", "96.00 %", ""),
        ("95 % interval, 1,000 images", "96.9 to 98.7 %", "94.6 to 97.0 %", ""),
        ("parameters", "1,000,000", "250,000", "4.00x"),
        ("MACs", "5,000,000", "2,000,000", "2.50x"),
        ("latency, median of a batch of 1", "0.50 ms", "0.40 ms", "1.25x"),
        ("latency, 95th percentile of a batch of 1", "1.00 ms", "2.00 ms", "0.50x"),
        ("latency, median of a batch of 64", "4.00 ms", "2.00 ms", "2.00x"),
        ("latency, 95th percentile of a batch of 64", "6.00 ms", "2.40 ms", "2.50x"),
    ]
    nothing = replace(STUDENT, parameters=0, macs=0)
    assert comparison(result(student=nothing))[2] == ("parameters", "1,000,000", "0", "")


def test_what_was_not_measured_is_said_and_never_a_zero() -> None:
    assert points(None) == "not measured"
    assert points(0.0) == "0.00 %"
    assert points(1.0) == "100.00 %"
    assert phase_rows(PHASES) == [
        ("planning", "1.25", "", "2.50", "not measured"),
        ("teacher-fed", "10.00", "9.00", "19.50", "gpu0 12.3, cpu-package-0 5.0"),
        ("scoring", "0.50", "", "0.50", "gpu0 1.0"),
    ]
    assert joules_notes(PHASES) == ["Joules not measured: rapl: no counters."]
    assert joules_notes(PHASES[1:2]) == []


def table(text: str, head: str) -> list[list[str]]:
    """Return the rows of the Markdown table whose first line starts with `head`."""
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_card_holds_everything() -> None:
    text = card(result())
    assert text.startswith("# vgg student\n\n1 of 3 blocks were replaced")
    assert table(text, "|  | teacher |")[2] == ["parameters", "1,000,000", "250,000", "4.00x"]
    assert table(text, "| stage |") == [
        ["assembled", "90.00 % (88.0 to 91.7)"],
        ["recalibrated", "not measured"],
        ["fine-tuned", "96.00 % (94.6 to 97.0)"],
    ]
    assert table(text, "| block |") == [
        [
            "conv1",
            "3x8x8",
            "8,000 to 1,000",
            "90,000 to 45,000",
            "loses 1.2 points on 160 validation images (95 %: -1.1 to 3.6)",
            "yes: separable rank=2",
        ],
        [
            "conv2",
            "3x8x8",
            "8,000 to 4,000",
            "90,000 to 45,000",
            "loses 1.2 points on 160 validation images (95 %: -1.1 to 3.6)",
            "no: alone it loses too much",
        ],
        [
            "conv3",
            "3x8x8",
            "8,000 to 4,000",
            "90,000 to 45,000",
            "not scored",
            "no: no dense a\\|b convolution",
        ],
    ]
    assert [row[0] for row in table(text, "| phase |")] == ["planning", "teacher-fed", "scoring"]
    assert "- Recalibration was not asked for.\n- Joules not measured: rapl: no counters.\n" in text
    assert "```\npbkd run seed=1\n```" in text
    assert "- torch: 2.14\n- machine: Linux\n" in text
    assert text.endswith(".\n")


def test_every_row_of_a_table_has_the_cells_of_its_head() -> None:
    for line in card(result()).splitlines():
        if line.startswith("|"):
            assert line.endswith(" |")
    rows = card(result()).split("| block |")[1].split("\n\n")[0].splitlines()
    assert {row.replace("\\|", "").count("|") for row in rows[1:]} == {7}


def test_a_card_without_notes_has_no_gap() -> None:
    assert "\n\n\n" not in card(result(notes=(), phases=PHASES[1:2]))


def test_the_report_is_files_that_say_the_same(tmp_path: Path) -> None:
    write_report(result(), tmp_path)
    names = ["README.md", "blocks.csv", "checksums.json", "classes.csv", "result.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "README.md").read_text() == card(result())
    assert (tmp_path / "blocks.csv").read_text() == blocks_csv(result().blocks)
    assert (tmp_path / "classes.csv").read_text() == classes_csv(CLASSES)
    data = read_json(tmp_path / "result.json")
    assert data == json.loads(json.dumps(result().to_dict()))
    assert data["accuracies"]["recalibrated"] is None
    assert data["phases"][0]["joules"] is None
    assert data["phases"][0]["joules_reason"] == "rapl: no counters"
    assert data["blocks"][2]["solo_drop"] is None
    assert data["student"]["interval"] == [*wilson_interval(960, 1000)]
    assert (data["change"]["lost"], data["change"]["gained"]) == (30, 10)
    assert data["change"]["difference"] == -0.02
    assert data["classes"][0]["name"] == "cat"


PLANNED = PlannedBlock(
    name="conv1",
    builder={"name": "separable", "rank": 2},
    block=Block("conv1", 1, (3, 8, 8), (4, 8, 8)),
    reason=None,
    parameters_before=8000,
    parameters_after=1000,
    bytes_before=32000,
    bytes_after=4000,
    macs_before=90000,
    macs_after=45000,
    cost=BlockCost("conv1", 0.1, 0.2, 0.3),
)


def test_a_blocks_result_comes_from_its_plan_and_its_training() -> None:
    training = BlockTrained(
        worker=0,
        phase="teacher-fed",
        block="conv1",
        job_seconds=1.5,
        losses=(0.5, 0.25),
        failure=None,
        checksum=None,
    )
    trained = block_result(PLANNED, training)
    untried = replace(BLOCK, student_fed_losses=(), solo_drop=None, solo_interval=None)
    assert trained == replace(untried, solo_images=None, replaced=None)


def test_a_block_that_was_not_trained_has_no_figures_of_training() -> None:
    found = block_result(replace(PLANNED, reason="no dense convolution", cost=None))
    assert (found.replaced, found.reason) == (False, "no dense convolution")
    assert (found.worker, found.job_seconds, found.solo_drop) == (None, None, None)
    assert found.teacher_fed_losses == found.student_fed_losses == ()
