from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import pbkd
from pbkd.cli import app
from pbkd.data.batching import sequential_batches
from pbkd.errors import RunFolderError
from pbkd.pipeline.compressed import Compressed
from pbkd.training.task import DistillationTask


@pytest.fixture(scope="module")
def result(digits: DistillationTask, tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    """A run of a program that gives its own network and uint8 images."""
    batches = sequential_batches(digits.data.train, 400)
    pair = torch.cat([images for images, _ in batches]), digits.data.train.labels
    return pbkd.compress(
        digits.teacher.network,
        pair,
        mean=[0.5],
        std=[0.5],
        quiet=True,
        threads=1,
        meters=[],
        out=str(tmp_path_factory.mktemp("runs")),
        keep=["stem*", "head*", "conv1*", "conv2*", "conv3_1"],
        distill={"epochs": 1, "student_fed_epochs": 0},
        finetune={"epochs": 0},
        exports=["torchscript"],
    )


def test_the_run_ends_with_the_exports_that_it_was_asked_for(result: Compressed) -> None:
    assert [(one.network, one.file is None) for one in result.exports] == [
        ("teacher", True),
        ("student", False),
    ]
    student = result.student.network
    assert student is not None
    loaded = torch.jit.load(Path(result.folder, "exports", str(result.exports[1].file)))  # type: ignore[no-untyped-call]
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(loaded(images), student(images), rtol=0, atol=1e-4)
    assert result.exports[1].score == result.student.accuracy
    assert "export" in [phase.name for phase in result.phases]


def test_the_result_knows_how_to_prepare_images_and_exports(
    result: Compressed, tmp_path: Path
) -> None:
    student = result.student.network
    assert student is not None
    pixels = torch.randint(256, (9, 1, 8, 8), dtype=torch.uint8)
    images = pbkd.transform(student)(pixels)
    assert torch.equal(images, (pixels / 255 - 0.5) / 0.5)
    done = result.export("torchscript", str(tmp_path / "mine.pt"))
    assert done.path == tmp_path / "mine.pt"
    loaded = torch.jit.load(done.path)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loaded(images), student(images), rtol=0, atol=1e-4)


def test_the_students_folder_needs_no_code_of_the_program(
    result: Compressed, tmp_path: Path
) -> None:
    student = result.student.network
    assert student is not None
    loaded, images = pbkd.load(result.folder), torch.randn(5, 1, 8, 8)
    assert torch.equal(loaded(images), student(images))
    assert set(loaded.state_dict()) == set(student.state_dict())
    words = ["export", result.folder, "--format", "pytorch", "--out", str(tmp_path / "mine")]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert "differ from the student's by 0.0e+00 at most" in ended.output


def test_without_the_operations_the_code_is_asked_for(result: Compressed, tmp_path: Path) -> None:
    home = tmp_path / "student"
    home.mkdir()
    for name in ("config.json", "model.safetensors"):
        (home / name).write_bytes((Path(result.folder) / "student" / name).read_bytes())
    with pytest.raises(RunFolderError, match="pbkd export FOLDER --make MODULE:FUNCTION"):
        pbkd.load(home)
    words = ["export", str(home), "--format", "pytorch", "--out", str(tmp_path / "mine")]
    ended = CliRunner().invoke(app, [*words, "--make", "pbkd_zoo.vgg:digits_vgg"])
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "mine.pth").is_file()
