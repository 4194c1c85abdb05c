from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

from pbkd_tensorboard import TensorBoardObserver
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pbkd import RunInfo, RunResult
from pbkd.runs import EpochDone, Event, PowerRead, StepsDone
from pbkd.testing import record_event

if TYPE_CHECKING:
    from pathlib import Path


def scalars(folder: Path) -> dict[str, list[tuple[float, int, float]]]:
    """Return (time, step, value) of every tag that a TensorBoard run has."""
    run: Any = EventAccumulator(str(folder))
    run.Reload()
    return {
        tag: [(at.wall_time, at.step, round(at.value, 4)) for at in run.Scalars(tag)]
        for tag in run.Tags()["scalars"]
    }


def epoch(time: float, phase: str, block: str, number: int, loss: float) -> Event:
    return EpochDone(time=time, worker=0, phase=phase, block=block, epoch=number, loss=loss)


def run_in(folder: Path) -> RunInfo:
    return RunInfo(folder=folder, identity={}, configuration={}, plan={})


def test_every_block_is_a_run_and_so_are_fine_tuning_and_power(tmp_path: Path) -> None:
    run, observer = run_in(tmp_path), TensorBoardObserver()
    observer.run_started(run)
    for event in (
        epoch(1.0, "teacher-fed", "conv1", 1, loss=0.5),
        epoch(2.0, "teacher-fed", "conv1", 2, loss=0.25),
        epoch(2.5, "teacher-fed", "conv2", 1, loss=float("nan")),
        epoch(4.0, "student-fed", "conv1", 1, loss=0.2),
        EpochDone(
            time=5.0, worker=None, phase="fine-tuning", block="student", epoch=1, loss=0.7,
            accuracy=0.9,
        ),
        StepsDone(time=6.0, worker=0, phase="teacher-fed", steps=7),
        PowerRead(time=7.5, watts={"gpu0": 250.0}),
    ):  # fmt: skip
        observer.event(event, run)
    live = {path.name: scalars(path) for path in (tmp_path / "tensorboard").iterdir()}
    assert set(live) == {"conv1", "conv2", "fine-tuning", "power"}
    assert live["conv1"] == {
        "loss/teacher-fed": [(1.0, 1, 0.5), (2.0, 2, 0.25)],
        "loss/student-fed": [(4.0, 1, 0.2)],
    }
    assert live["fine-tuning"] == {
        "loss/fine-tuning": [(5.0, 1, 0.7)],
        "accuracy/fine-tuning": [(5.0, 1, 0.9)],
    }
    assert live["power"] == {"watts/gpu0": [(7.5, 7, 250.0)]}
    observer.run_finished(cast("RunResult", None), run)


def test_a_resumed_run_has_every_epoch_once(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    first, second = (epoch(float(n), "teacher-fed", "conv1", n, loss=1 / n) for n in (1, 2))
    stopped = TensorBoardObserver()
    stopped.run_started(run)
    stopped.event(first, run)
    record_event(tmp_path, "rank0", first)
    resumed = TensorBoardObserver()
    resumed.run_started(run)
    resumed.event(first, run)
    resumed.event(second, run)
    written = scalars(tmp_path / "tensorboard" / "conv1")
    assert written == {"loss/teacher-fed": [(1.0, 1, 1.0), (2.0, 2, 0.5)]}
