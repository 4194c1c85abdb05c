from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import pbkd
from pbkd.cli import app
from pbkd.config.load import load_config
from pbkd.errors import ExportError
from pbkd.models.export import FORMATS, Exported, export
from pbkd.pipeline.load import Reloaded, reload
from pbkd.pipeline.run import run
from pbkd.plugin.registry import Registry

onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'pbkd[export]'")


@pytest.fixture(scope="module")
def reloaded(finished: Path) -> Reloaded:
    return reload(finished)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_students_outputs(
    reloaded: Reloaded, tmp_path: Path, kind: str
) -> None:
    done = export(reloaded.student, reloaded.recipe, kind, tmp_path / "there" / "small")
    assert done == Exported(tmp_path / "there" / f"small{FORMATS[kind].suffix}", done.difference)
    assert done.difference < 1e-3
    images = torch.randn(3, 1, 8, 8)
    loaded = FORMATS[kind].read(done.path, reloaded.student)
    torch.testing.assert_close(loaded(images), reloaded.student(images), rtol=0, atol=1e-3)
    beside = json.loads(Path(f"{done.path}.json").read_text())
    assert beside["preparation"]["crop"] == {"height": 8, "width": 8}
    assert beside["preparation"]["mean"] == [0.5]


def test_onnx_takes_batches_of_any_size(reloaded: Reloaded, tmp_path: Path) -> None:
    done = export(reloaded.student, reloaded.recipe, "onnx", tmp_path / "small")
    session = onnxruntime.InferenceSession(done.path)
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape[1:], logits.name) == ("images", [1, 8, 8], "logits")
    assert isinstance(images.shape[0], str)  # a name, not a number
    for batch in (1, 7):
        (found,) = session.run(None, {"images": np.zeros((batch, 1, 8, 8), np.float32)})
        assert found.shape == (batch, 10)


def test_the_student_of_a_traced_teacher_loads_in_another_process_and_exports(
    registry: Registry, quick: list[str], tmp_path: Path
) -> None:
    traced = ["teacher=digits-resnet", "partitioner=fx", "keep=[stem*, head*, layer1*, layer2*]"]
    result = run(load_config([*quick, *traced]), registry)
    assert [block.name for block in result.blocks if block.replaced] == ["layer3_0", "layer3_1"]
    images = torch.randn(4, 1, 8, 8)
    torch.save(images, tmp_path / "images.pt")
    script = (
        "import sys, torch, pbkd; folder, path = sys.argv[1:];"
        " torch.save(pbkd.load(folder)(torch.load(path)), path)"
    )
    path = str(tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", script, result.folder, path], check=True)
    logits = pbkd.load(result.folder)(images)
    torch.testing.assert_close(torch.load(path), logits, rtol=0, atol=1e-4)
    again = reload(Path(result.folder))
    for kind in FORMATS:
        assert export(again.student, again.recipe, kind, tmp_path / "small").difference < 1e-3


def test_outputs_that_differ_are_told(
    reloaded: Reloaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMATS["torchscript"]
    spoilt = type(form)(form.suffix, form.write, lambda _path, _student: _Doubled(reloaded.student))
    monkeypatch.setitem(FORMATS, "torchscript", spoilt)
    with pytest.raises(ExportError, match="gives other outputs than the student"):
        export(reloaded.student, reloaded.recipe, "torchscript", tmp_path / "small")


class _Doubled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = 2 * self.network(images)
        return logits


def test_mistakes_are_told(
    reloaded: Reloaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match="unknown format 'onx'. Did you mean 'onnx'"):
        export(reloaded.student, reloaded.recipe, "onx", tmp_path / "small")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"needs the package onnxscript: pip install 'pbkd\[exp"):
        export(reloaded.student, reloaded.recipe, "onnx", tmp_path / "small")


def test_the_command_writes_and_tells(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["export", str(finished), "--format", "torch-export"])
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith("digits-vgg-student.pt2: its outputs differ from the student's")
    program = torch.export.load("digits-vgg-student.pt2").module()
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(program(images), pbkd.load(finished)(images), rtol=0, atol=1e-4)
