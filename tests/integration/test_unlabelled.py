"""A run on a folder of grey pictures that nobody has labelled, and what becomes of its student."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from pbkd_digits import DigitsSource
from PIL import Image

import pbkd
from pbkd.config.load import load_config
from pbkd.config.yaml_files import read_yaml
from pbkd.core.results import RunResult
from pbkd.errors import ConfigError
from pbkd.pipeline.baselines.settings import BaselineSettings
from pbkd.pipeline.baselines.train import train_baselines
from pbkd.pipeline.run import run
from pbkd.plugin.registry import Registry, build_registry
from pbkd.report.compare import compare_csv, compare_rows
from pbkd.runs.finished import read_finished
from pbkd.training.task import build_task
from pbkd.zoo.add import add_student
from pbkd.zoo.verify import verify


@pytest.fixture(scope="module")
def photographed(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The result of a run that saw 600 digits, 8x8, as files without labels."""
    home = tmp_path_factory.mktemp("unlabelled")
    (home / "pictures").mkdir()
    digits = DigitsSource().load().train.images(torch.arange(600))
    for row, pixels in enumerate(digits[:, 0].numpy()):
        Image.fromarray(pixels).save(home / "pictures" / f"{row:04}.png")
    overrides = [
        "data=imagefolder",
        f"data.path={home / 'pictures'}",
        "data.labelled=false",
        "data.size=8",
        "data.channels=1",
        "data.crop=1",
        "keep=[stem*, head*, conv1*, conv2*]",
        "distill.epochs=4",
        "distill.student_fed_epochs=2",
        "finetune.epochs=3",
        "threads=1",
        "meters=[]",
        f"out={home / 'runs'}",
    ]
    torch.set_num_threads(1)
    return run(load_config(overrides), build_registry())


def test_accuracy_is_null_with_the_reason_and_agreement_measured(photographed: RunResult) -> None:
    tree = json.loads((Path(photographed.folder) / "result.json").read_text())
    assert tree["accuracy_reason"] == "the data 'imagefolder' has no labels"
    assert tree["teacher"]["accuracy"] is None
    assert tree["student"]["accuracy"] is None
    assert set(tree["accuracies"].values()) == {None}
    assert tree["student"]["agreement"] == tree["agreements"]["fine-tuned"] > 0.9
    assert len(tree["blocks"]) == 2
    assert all(block["replaced"] for block in tree["blocks"])
    notes = " ".join(tree["notes"])
    assert "Fine-tuning took the agreement with the teacher on " in notes


def test_the_agreement_is_that_of_the_students_in_the_folder(photographed: RunResult) -> None:
    config = load_config(file=Path(photographed.folder) / "config.yaml")
    data = build_task(config, build_registry(), "cpu")
    images = data.normalize(data.data.test.images(torch.arange(len(data.data.test))))
    with torch.no_grad():
        theirs = data.teacher.network(images).argmax(1)
        mine = pbkd.load(photographed.folder)(images).argmax(1)
    assert float((mine == theirs).float().mean()) == pytest.approx(photographed.student.agreement)


def test_it_is_compared_kept_and_verified_without_an_accuracy(
    photographed: RunResult, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = read_finished(Path(photographed.folder))
    heads, (row,) = compare_rows([finished])
    cells = dict(zip(heads, row, strict=True))
    agreement = f"{100 * (photographed.student.agreement or 0):.2f} %"
    assert cells["student's accuracy"] == cells["change in points"] == "not measured"
    assert cells["agreement"].startswith(f"{agreement} (")
    (figures,) = csv.DictReader(io.StringIO(compare_csv([finished])))
    assert figures["student_accuracy"] == figures["student_accuracy_low"] == ""
    assert "the data 'imagefolder' has no labels" in compare_csv([finished])
    kept = add_student(registry, Path(photographed.folder), tmp_path, name="digits-seen", half=True)
    card = read_yaml(kept / "card.yaml")
    assert card["accuracy"] == {}
    monkeypatch.setenv("PBKD_ZOO", str(tmp_path))
    checks = {check.what: check for check in verify(registry, ["digits-seen"])}
    assert not any(check.passed is False for check in checks.values())


def test_rivals_are_compared_by_agreement_or_need_labels(photographed: RunResult) -> None:
    folder = Path(photographed.folder)
    with pytest.raises(ConfigError, match="has no labels, which the method 'scratch' needs"):
        train_baselines(folder, BaselineSettings(methods=["same-start", "scratch"], seconds=1))
    (row,) = train_baselines(folder, BaselineSettings(seconds=0.01, lr=0.001)).values()
    assert row.difference == pytest.approx((photographed.student.agreement or 0) - row.score)
