from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

import pbkd_tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pbkd.runs import EpochDone, StepsDone
from pbkd.testing import record_event

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd import RunResult


def scalars(folder: Path) -> dict[str, list[tuple[float, int, float]]]:
    """Return (time, step, value) of every tag that a TensorBoard run has."""
    run: Any = EventAccumulator(str(folder))
    run.Reload()
    return {
        tag: [(at.wall_time, at.step, round(at.value, 4)) for at in run.Scalars(tag)]
        for tag in run.Tags()["scalars"]
    }


def epoch(folder: Path, time: float, phase: str, block: str, number: int, loss: float) -> None:
    event = EpochDone(time=time, worker=0, phase=phase, block=block, epoch=number, loss=loss)
    record_event(folder, "rank0", event)


def test_every_block_is_a_run_and_so_is_fine_tuning(tmp_path: Path) -> None:
    result = cast("RunResult", SimpleNamespace(folder=str(tmp_path)))
    epoch(tmp_path, 1.0, "teacher-fed", "conv1", 1, loss=0.5)
    epoch(tmp_path, 2.0, "teacher-fed", "conv1", 2, loss=0.3)
    epoch(tmp_path, 2.5, "teacher-fed", "conv2", 1, loss=float("nan"))
    epoch(tmp_path, 3.0, "teacher-fed", "conv1", 2, loss=0.25)  # resumed
    epoch(tmp_path, 4.0, "student-fed", "conv1", 1, loss=0.2)
    fine_tuned = EpochDone(
        time=5.0,
        worker=None,
        phase="fine-tuning",
        block="student",
        epoch=1,
        loss=0.7,
        accuracy=0.9,
    )
    record_event(tmp_path, "host", fine_tuned)
    record_event(tmp_path, "rank0", StepsDone(time=6.0, worker=0, phase="teacher-fed", steps=7))
    pbkd_tensorboard.run_finished(result)
    written = {path.name: scalars(path) for path in (tmp_path / "tensorboard").iterdir()}
    assert set(written) == {"conv1", "conv2", "fine-tuning"}
    assert written["conv1"] == {
        "loss/teacher-fed": [(1.0, 1, 0.5), (3.0, 2, 0.25)],
        "loss/student-fed": [(4.0, 1, 0.2)],
    }
    assert written["fine-tuning"] == {
        "loss/fine-tuning": [(5.0, 1, 0.7)],
        "accuracy/fine-tuning": [(5.0, 1, 0.9)],
    }
