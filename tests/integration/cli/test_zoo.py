"""`pbkd zoo` on models and students that are trained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pbkd.models.teacher import load_teacher

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

from tests.command_line import ONE_BLOCK, Pbkd, mistake


def test_a_model_is_trained_and_can_then_be_a_teacher(pbkd: Pbkd, registry: Registry) -> None:
    ended = pbkd("zoo", "train", "digits-resnet", "epochs=1", "device=cpu", "--out", "new/trained")
    assert (ended.code, ended.err) == (0, "")
    weights = "new/trained/digits-resnet.safetensors"
    lines = ended.out.splitlines()
    assert lines[-5].startswith("training, epoch 1: loss ")
    assert lines[-4].startswith("test accuracy ")
    assert lines[-3:-1] == [f"weights: {weights}", "card: new/trained/digits-resnet.yaml"]
    command = f"pbkd run teacher=digits-resnet teacher.weights={weights}"
    assert lines[-1] == f"compress it: {command}"
    assert load_teacher(registry, {"name": "digits-resnet", "weights": weights}).weights == weights


def test_a_model_is_compressed_by_its_recipe_and_its_student_is_kept(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PBKD_ZOO", raising=False)
    made = pbkd("zoo", "compress", "digits-vgg", *ONE_BLOCK, "--seed", "3", "--quiet")
    assert (made.code, made.err) == (0, "")
    run = made.out.strip()
    added = pbkd("zoo", "add", run, "--name", "small").out.splitlines()
    here = Path("pbkd-zoo").resolve()
    assert added == [
        "added small: pbkd-zoo/small",
        f"to list it and load it by name: export PBKD_ZOO={here}",
    ]
    assert pbkd("zoo", "path").out.splitlines()[-1] == "add one with: export PBKD_ZOO=FOLDER"
    monkeypatch.setenv("PBKD_ZOO", str(here))
    assert pbkd("zoo", "path").out.splitlines()[0] == str(here)
    rows = pbkd("zoo", "list").out.splitlines()
    (row,) = [row for row in rows if row.split()[:3] == ["small", "student", "digits"]]
    assert row.rstrip().endswith("…")
    assert len(row) <= 200
    shown = pbkd("zoo", "show", "small").out
    assert "--seed 3 --quiet\n" in shown
    assert "  kind: student" in shown.splitlines()
    checked = pbkd("zoo", "verify", "small")
    assert (checked.code, len(checked.out.splitlines())) == (0, 5)
    assert all(" ok: " in line for line in checked.out.splitlines()[1:])
    assert mistake(pbkd("zoo", "add", run, "--name", "small")).startswith(f"'{here}/small' alread")
    command = json.loads((Path(run) / "result.json").read_text())["command"]
    again = pbkd(*shlex.split(command)[1:]).out.strip()
    assert again != run
    one, two = (Path(folder) / "student" / "model.safetensors" for folder in (run, again))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_not_as_its_card_says_is_exit_code_1(
    pbkd: Pbkd, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBKD_ZOO", "mine")
    assert pbkd("zoo", "add", str(finished), "--licence", "MIT", "--half").code == 0
    card = Path("mine/digits-vgg-student/card.yaml")
    card.write_text(card.read_text().replace("parameters: ", "parameters: 1"))
    ended = pbkd("zoo", "verify")
    assert (ended.code, ended.err) == (1, "")
    failed = [line.split()[:3] for line in ended.out.splitlines() if "FAILED" in line]
    assert failed == [["digits-vgg-student", "parameters", "FAILED:"]]
    card.write_text("[")
    assert f"damaged: '{card}' is not YAML" in pbkd("zoo", "list").out
    assert mistake(pbkd("zoo", "show", "digits-vgg-student")).startswith("the student 'digits-vgg")
