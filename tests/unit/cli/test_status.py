from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.config.checksum_line import with_checksum
from pbkd.core.events import BlockTrained, EpochDone, Restarted
from pbkd.runs.events import record_event
from pbkd.runs.lock import locked
from tests.command_line import Pbkd

CONFIG = "distill:\n  epochs: 3\n  student_fed_epochs: 0\nfinetune:\n  epochs: 2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run that was stopped in its teacher-fed phase, after a restart."""
    made = tmp_path / "my run"
    made.mkdir()
    (made / "config.yaml").write_text(with_checksum(CONFIG))
    for block, epochs in (("conv1", 3), ("conv2", 2)):
        for epoch in range(1, epochs + 1):
            done = EpochDone(worker=0, phase="teacher-fed", block=block, epoch=epoch, loss=0.5)
            record_event(made, "rank0", done)
    trained = BlockTrained(
        worker=0, phase="teacher-fed", block="conv1", job_seconds=1.0, losses=(0.5,), failure=None,
        checksum=None,
    )  # fmt: skip
    record_event(made, "rank0", trained)
    record_event(made, "launcher", Restarted(reason="worker 1 was lost", attempt=1))
    return made


def test_each_phase_is_shown_with_the_epochs_of_its_blocks(folder: Path, pbkd: Pbkd) -> None:
    lines = pbkd("status", folder).out.splitlines()
    assert lines[:4] == [
        f"run folder: {folder}",
        "teacher-fed: 1 of 2 done, of 3 epochs: conv1 3, conv2 2",
        "student-fed: none",
        "fine-tuning: not begun, 2 epochs",
    ]
    assert any("worker 1 was lost" in line for line in lines)
    assert lines[-1] == f"stopped; go on with `pbkd run --resume '{folder}'`"


def test_a_run_whose_folder_is_held_is_running(folder: Path, pbkd: Pbkd) -> None:
    with locked(folder):
        assert pbkd("status", folder).out.splitlines()[-1] == "running"


def test_a_missing_part_of_the_result_is_damage(folder: Path, pbkd: Pbkd) -> None:
    (folder / "README.md").touch()
    assert f"damaged: '{folder / 'result.json'}' is missing." in pbkd("status", folder).out
