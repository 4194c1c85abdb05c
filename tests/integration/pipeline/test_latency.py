from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.errors import RunFolderError, UnknownNameError
from pbkd.models.metrics import macs, parameters
from pbkd.models.student_loading import load_student
from pbkd.pipeline.latency import contenders, nearest_ready, timed
from pbkd.plugin.registry import Registry


def test_teacher_and_student_are_timed_in_turn(finished: Path) -> None:
    networks = contenders(finished, ["digits-resnet"])
    assert list(networks) == ["teacher", "student", "digits-resnet"]
    student = load_student(finished)
    found = networks["student"]
    assert (found.parameters, found.macs) == (parameters(student), macs(student, (1, 8, 8)))
    assert networks["teacher"].parameters > found.parameters
    passes = timed(networks, batch=3, threads=1, repeats=5)
    assert all((one.batch, one.repeats) == (3, 5) for one in passes.values())
    assert all(0 < one.median_seconds <= one.p95_seconds for one in passes.values())


def test_a_network_of_timm_stands_beside_the_ready_one_nearest_in_size(registry: Registry) -> None:
    assert nearest_ready(registry, 1_600_000) == "timm:mobilenetv3_small_050"
    assert nearest_ready(registry, 11_700_000) == "timm:resnet18"


def test_other_teachers_have_none_beside_them(finished: Path) -> None:
    assert list(contenders(finished, None)) == ["teacher", "student"]


def test_what_cannot_be_timed_is_told(finished: Path) -> None:
    with pytest.raises(RunFolderError, match="'student' is timed anyway"):
        contenders(finished, ["student"])
    with pytest.raises(UnknownNameError, match="Did you mean 'digits-resnet'"):
        contenders(finished, ["digits-resnt"])


def test_the_command_prints_a_row_for_each_network_and_batch(finished: Path) -> None:
    options = ["--batch", "2", "--batch", "5", "--threads", "1", "--repeats", "3"]
    ended = CliRunner().invoke(app, ["latency", str(finished), *options])
    assert ended.exit_code == 0, ended.output
    head, *rows = (re.split(r" {2,}", line.strip()) for line in ended.output.splitlines())
    assert head[:4] == ["network", "parameters", "MACs", "batch"]
    assert [(row[0], row[3]) for row in rows] == [
        ("teacher", "2"), ("student", "2"), ("teacher", "5"), ("student", "5"),
    ]  # fmt: skip
    assert [row[6] for row in rows if row[0] == "teacher"] == ["1.00x", "1.00x"]
    for teacher, student in zip(rows[::2], rows[1::2], strict=True):
        ratio = float(teacher[4]) / float(student[4])
        assert float(student[6].rstrip("x")) == pytest.approx(ratio, rel=0.1)  # of rounded figures
