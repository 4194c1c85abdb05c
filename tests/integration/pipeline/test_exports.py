"""Exports that change the outputs: measured beside teacher and float student, and recorded."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.models.student_input import attach_preparation
from pbkd.pipeline.exports import FinishedNetworks, export_all
from pbkd.plugin.registry import build_registry
from pbkd.report.report_data import read_report_data
from pbkd.report.run_page import run_page
from pbkd.training.task import DistillationTask

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

import torch
import pbkd
from pbkd.errors import ExportError


@dataclass(frozen=True)
class Rounded:
    name: ClassVar[str] = "rounded"
    suffix: ClassVar[str] = ".rounded.pt"
    float_format: ClassVar[str] = "torchscript"
    steps: int = 64

    def write(self, subject, path):
        images = subject.images
        if not len(images.calibration) == 512 or not len(images.validation) == len(images.classes):
            raise ExportError("other images were expected.")
        with torch.no_grad():
            for parameter in subject.network.parameters():
                parameter.copy_((self.steps * parameter).round() / self.steps)
        torch.jit.trace(subject.network, subject.example).save(path)
        return [path], f"in {self.steps}ths"

    def read(self, path, subject):
        return torch.jit.load(path)


@pbkd.hookimpl
def register_exporters():
    return [Rounded]
"""
KINDS = [("teacher", "torchscript"), ("student", "torchscript"), ("student", "rounded")]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("plugin") / "my_rounded.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_command_adds_the_figures_to_result_table_card_and_report(
    run: Path, plugin: str, tmp_path: Path
) -> None:
    words = ["export", str(run), "--plugin", plugin, "--out", str(tmp_path / "net")]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    exports = json.loads((run / "result.json").read_text())["exports"]
    assert [(one["network"], one["format"]) for one in exports] == KINDS
    assert [one["file"] for one in exports] == [None, None, "net.rounded.pt"]
    assert exports[-1]["bytes"] == (tmp_path / "net.rounded.pt").stat().st_size
    rows = [*csv.DictReader((run / "exports.csv").open())]
    assert [row["batch"] for row in rows] == ["1", "64"] * 3
    assert [float(row["score"]) for row in rows[::2]] == [one["score"] for one in exports]
    for text in (ended.output, (run / "README.md").read_text()):
        assert f"{exports[-1]['bytes']:,}" in text
        assert "the score of a format that changes the outputs was measured in it" in text
    assert "validation images the student's class\n" in ended.output
    page = run_page(read_report_data(run))
    assert "megabytes of the file" in page
    assert "1: teacher, torchscript; 2: student, torchscript; 3: student, rounded" in page
    again = CliRunner().invoke(app, [*words, "--option", "steps=4096", "--with-preparation"])
    assert again.exit_code == 0, again.output
    finer = json.loads((run / "result.json").read_text())["exports"]
    assert [(one["network"], one["format"]) for one in finer] == KINDS
    assert finer[-1]["score"] == finer[1]["score"]


def test_a_changed_student_or_one_without_its_run_is_refused(run: Path, plugin: str) -> None:
    words = ["--plugin", plugin, "--out", str(run.parent / "net")]
    alone = CliRunner().invoke(app, ["export", str(run / "student"), *words])
    assert str(alone.exception) == (
        "the format 'rounded' is fitted to images of the run, which are not at hand: export from"
        " the folder of a run whose data can be loaded, or set the run's exports."
    )
    with (run / "config.yaml").open("a") as file:
        file.write("# edited\n")
    edited = CliRunner().invoke(app, ["export", str(run), *words])
    assert "config.yaml' does not match its checksum" in str(edited.exception)


def test_one_format_may_fail_and_all_are_scored_by_test_images(
    digits: DistillationTask, plugin: str, tmp_path: Path
) -> None:
    networks = FinishedNetworks(
        task=digits,
        student=attach_preparation(digits.teacher.network, digits.preparation),
        scores={"teacher": 0.5, "student": 0.25},
        seed=0,
        registry=build_registry([plugin]),
    )
    choices = ["torchscript", {"name": "rounded", "steps": 10**6}, {"name": "rounded", "steps": 1}]
    exports, notes = export_all(networks, choices, tmp_path)
    assert [(one.network, one.format) for one in exports] == KINDS
    assert [one.score for one in exports[:2]] == [0.5, 0.25]
    assert exports[2].score == digits.score(digits.teacher.network, digits.data.test)
    assert [one.file for one in exports] == [
        None, "digits-vgg-student.pt", "digits-vgg-student.rounded.pt",
    ]  # fmt: skip
    assert {one.threads for one in exports} == {torch.get_num_threads()}
    assert notes[0] == "in 1000000ths"
    assert notes[1].startswith("The student was not exported as rounded: what the exporter")
    assert "validation images the student's class: it is not to be used." in notes[1]
