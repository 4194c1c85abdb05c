from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from pbkd_torch_engine import TorchEngine
from torch import Tensor, nn
from typer.testing import CliRunner

from pbkd.cli import app
from pbkd.errors import PbkdError, RunFolderError, UnknownNameError
from pbkd.models.metrics import macs, parameters
from pbkd.models.student_loading import load_student
from pbkd.pipeline.latency import contenders, nearest_ready, place_of, timed
from pbkd.plugin.registry import Registry, build_registry
from pbkd.protocols import Engine

ENGINES = build_registry().strategies["engine"]


def test_teacher_and_student_are_timed_in_turn(finished: Path) -> None:
    networks = contenders(finished, ["digits-resnet"])
    assert list(networks) == ["teacher", "student", "digits-resnet"]
    student = load_student(finished)
    found = networks["student"]
    assert (found.parameters, found.macs) == (parameters(student), macs(student, (1, 8, 8)))
    assert networks["teacher"].parameters > found.parameters
    passes = timed(networks, TorchEngine(), {}, place_of("cpu", 1), batch=3, repeats=5)
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


def rows_of(run: Path, *options: str) -> list[list[str]]:
    ended = CliRunner().invoke(app, ["latency", str(run), *options, "--threads", "1"])
    assert ended.exit_code == 0, ended.output
    assert ended.output.splitlines()[-1] == "measured on cpu, with 1 CPU threads"
    return [re.split(r" {2,}", line.strip()) for line in ended.output.splitlines()[:-1]]


def test_the_command_prints_a_row_for_each_network_and_batch(finished: Path) -> None:
    options = ["--batch", "2", "--batch", "5", "--repeats", "3", "--device", "cpu"]
    head, *rows = rows_of(finished, *options)
    assert head[:5] == ["network", "engine", "parameters", "MACs", "batch"]
    assert [(row[0], row[4]) for row in rows] == [
        ("teacher", "2"), ("student", "2"), ("teacher", "5"), ("student", "5"),
    ]  # fmt: skip
    assert [row[7] for row in rows if row[0] == "teacher"] == ["1.00x", "1.00x"]
    for teacher, student in zip(rows[::2], rows[1::2], strict=True):
        ratio = float(teacher[5]) / float(student[5])
        assert float(student[7].rstrip("x")) == pytest.approx(ratio, rel=0.1)  # of rounded figures


def test_an_exported_file_is_timed_beside_the_networks(finished: Path, tmp_path: Path) -> None:
    """The exported teacher takes about as long as the teacher itself."""
    path = tmp_path / "teacher.pt"
    network = contenders(finished, [])["teacher"].network
    torch.jit.trace(network, torch.rand(2, 1, 8, 8)).save(path)  # type: ignore[no-untyped-call]
    _, *rows = rows_of(finished, "--file", str(path), "--batch", "64")
    assert [row[:3] for row in rows[::2]] == [
        ["teacher", "torch", f"{parameters(network):,}"],
        ["teacher.pt", "torch", "64"],
    ]
    # It takes half a millisecond, which other tests may make three.
    assert 1 / 8 < float(rows[2][-1].rstrip("x")) < 8


@pytest.mark.slow
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "torch"])
def test_every_engine_times_teacher_and_student(
    finished: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(engine) is None:  # an import of openvino would fork this process
        pytest.skip("the engine is not installed")
    asked = []
    prepare = ENGINES[engine].prepare

    def noting(self: Engine, network: nn.Module, images: Tensor, threads: int) -> object:
        asked.append((parameters(network), len(images), threads))
        return prepare(self, network, images, threads)

    monkeypatch.setattr(ENGINES[engine], "prepare", noting)
    _, *rows = rows_of(finished, "--engine", engine, "--batch", "3")
    assert [row[:2] for row in rows] == [["teacher", engine], ["student", engine]]
    assert asked == [(int(row[2].replace(",", "")), 3, 1) for row in rows]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--engine onxruntime", "unknown engine 'onxruntime'. Did you mean 'onnxruntime'"),
        ("--file net.onnx", "'net.onnx' is not executed by torch: name an engine that can by"),
        ("--file net.pt2", "there is no file 'net.pt2': name one that `pbkd export` wrote"),
        (
            "--file other.pt",
            r"torch cannot execute 'other.pt' for images of the shape (1, 1, 8, 8)",
        ),
        ("--device gpu", "'device' is gpu, which this machine does not have"),
    ],
)
def test_an_engine_or_file_that_does_not_fit_is_told(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    other = torch.jit.trace(torch.nn.Linear(3, 2), torch.rand(1, 3))  # type: ignore[no-untyped-call]
    other.save("other.pt")
    ended = CliRunner().invoke(app, ["latency", str(finished), "--batch", "1", *options.split()])
    assert isinstance(ended.exception, PbkdError)
    assert told in str(ended.exception)
    assert "\n" not in str(ended.exception)


def test_a_package_that_an_engine_lacks_is_told(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ended = CliRunner().invoke(app, ["latency", str(finished), "--engine", "onnxruntime"])
    assert str(ended.exception) == (
        "the engine onnxruntime needs the package onnxruntime: pip install 'pbkd[export]'."
    )
