"""`pbkd baseline` and `pbkd compare`, on a short run."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.core.files import read_json
from pbkd.errors import ConfigError, RunFolderError
from pbkd.report.scores import score_text


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to write to."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def pbkd(*arguments: object) -> str:
    ended = CliRunner().invoke(app, list(map(str, arguments)))
    if ended.exception:
        raise ended.exception
    return ended.output


def test_a_rival_is_told_of_and_stands_beside_its_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.pipeline.baselines.train._PASSES", 1)
    options = ("--against", "scratch", "--seconds", "0.2", "--lr", "0.002")
    lines = pbkd("baseline", folder, *options).splitlines()
    (row,) = read_json(folder / "baselines.json")["baselines"]
    assert (row["method"], row["lr"], row["max_cpu_seconds"]) == ("scratch", 0.002, 0.2)
    epochs = [line for line in lines if line.startswith("scratch, lr 0.002, seed 0, epoch ")]
    assert len(epochs) == row["trainings"][0]["epochs"]
    assert re.search(r": loss \d+\.\d{4}, validation \d+\.\d\d %$", epochs[0])
    student = json.loads((folder / "result.json").read_text())["student"]["accuracy"]
    table = [re.split(r" {2,}", line.strip()) for line in lines[len(epochs) : len(epochs) + 3]]
    assert table[0][:3] == ["network", "test score", "student ahead by"]
    assert table[1][:2] == ["student (pbkd)", score_text(student, 360)]
    score = f"{100 * row['score']:.2f} %"
    assert table[2][:2] == ["scratch: the student with random weights", score]
    assert lines[-1].startswith("The strongest rival is scratch (the student with random weights)")

    output = pbkd("compare", folder, folder, "--csv", tmp_path / "runs.csv")
    assert max(len(line) for line in output.split(f"{folder.name}:\n")[0].splitlines()) <= 100
    shown: dict[str, str] = {}
    for part in re.findall(r"^run .*\n.*\n.*$", output, re.MULTILINE):
        head, *rows = [re.split(r" {2,}", line.strip()) for line in part.splitlines()]
        assert rows[0] == rows[1]
        shown |= dict(zip(head, rows[0], strict=True))
    assert shown["run"] == folder.name
    assert shown["MACs"].endswith("x")
    assert shown["strongest rival"] == f"scratch {score}"
    with (tmp_path / "runs.csv").open() as file:
        (first, second) = csv.DictReader(file)
    assert first == second
    assert float(first["scratch_score"]) == row["score"]
    assert float(first["student_accuracy"]) == student


def test_mistakes_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no finished run"):
        pbkd("compare", folder, tmp_path)
    with pytest.raises(ConfigError, match="unknown method 'distilation'"):
        pbkd("baseline", folder, "--against", "distilation")
    with pytest.raises(ConfigError, match=r"'finetune\.epochs' cannot be changed"):
        pbkd("baseline", folder, "finetune.epochs=3")
