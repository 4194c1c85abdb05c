"""A small finished run, as observers and sections of reports get it: its events and result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.events import (
    BlockScored,
    BlockTrained,
    EpochDone,
    JobStarted,
    Note,
    PhaseStarted,
    PlanMade,
    PlannedJob,
    PlannedWorker,
    PowerRead,
    StepsDone,
    TeacherScored,
)
from pbkd.core.intervals import wilson_interval
from pbkd.core.results import BlockResult, Latency, NetworkResult, PhaseResult, RunResult
from pbkd.protocols import RunInfo

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.events import Event

__all__ = ["tiny_events", "tiny_result", "tiny_run_info"]

_TIME = 1_700_000_000.0
_TEACHER_FED, _STUDENT_FED = (0.5, 0.25), (0.125,)


def tiny_run_info(folder: Path) -> RunInfo:
    """Return a run of the teacher `tiny` with one block, in `folder`, which is not read."""
    configuration = {
        "teacher": {"name": "tiny"},
        "builder": {"name": "identity"},
        "workers": 1,
        "seed": 0,
        "distill": {"epochs": 2, "student_fed_epochs": 1},
        "finetune": {"epochs": 1},
    }
    return RunInfo(
        folder=folder.resolve(),
        identity={"configuration": configuration},
        configuration=configuration,
        plan={"scheduler": "greedy", "feed": "recompute", "seconds": 2.0},
    )


def tiny_events(folder: Path) -> list[Event]:
    """Return the events of the run `tiny_run_info(folder)`, in their order."""
    block = ("block0",)
    events: list[Event] = [
        PhaseStarted(phase="planning", time=_TIME),
        TeacherScored(name="tiny", images=16, accuracy=0.9375, cut="vgg", time=_TIME + 0.1),
        PlanMade(
            folder=str(folder),
            scheduler="greedy",
            feed="recompute",
            seconds=2.0,
            workers=(PlannedWorker(rank=0, device="cpu"),),
            blocks=block,
            epochs={"teacher-fed": 2, "student-fed": 1, "fine-tuning": 1},
            totals={"teacher-fed": 2, "student-fed": 1, "fine-tuning": 1},
            lanes=((PlannedJob(blocks=block, seconds=2.0),),),
            phases={"planning": 0.2, "teacher-fed": 2.0},
            time=_TIME + 0.2,
        ),
        PhaseStarted(phase="teacher-fed", time=_TIME + 0.3),
        JobStarted(worker=0, phase="teacher-fed", blocks=block, begun=0, epochs=2, steps=1,
                   images=64, time=_TIME + 0.4),
        PowerRead(watts={"cpu-package-0": 12.5}, time=_TIME + 0.5),
    ]  # fmt: skip
    for epoch, loss in enumerate(_TEACHER_FED, 1):
        events += [
            StepsDone(worker=0, phase="teacher-fed", steps=epoch, time=_TIME + epoch),
            EpochDone(worker=0, phase="teacher-fed", block="block0", epoch=epoch, loss=loss,
                      time=_TIME + epoch),
        ]  # fmt: skip
    return [
        *events,
        BlockTrained(worker=0, phase="teacher-fed", block="block0", job_seconds=2.0,
                     losses=_TEACHER_FED, failure=None, checksum="00000000", time=_TIME + 2.1),
        BlockScored(block="block0", solo_drop=0.0, reason=None, images=16, time=_TIME + 2.2),
        PhaseStarted(phase="fine-tuning", time=_TIME + 3),
        EpochDone(worker=None, phase="fine-tuning", block="student", epoch=1, loss=1.5,
                  accuracy=0.875, time=_TIME + 4),
        Note(text="Fine-tuning took the accuracy from 81.25 to 87.50 %.", time=_TIME + 4.1),
    ]  # fmt: skip


def tiny_result(folder: Path) -> RunResult:
    """Return the result of the run `tiny_run_info(folder)`, without joules and classes."""
    block = BlockResult(
        name="block0",
        input_shape=(8, 8, 8),
        output_shape=(16, 4, 4),
        parameters_before=3456,
        parameters_after=864,
        macs_before=55_296,
        macs_after=13_824,
        replaced=True,
        reason=None,
        worker=0,
        job_seconds=2.0,
        teacher_fed_losses=_TEACHER_FED,
        student_fed_losses=_STUDENT_FED,
        solo_drop=0.0,
        builder={"name": "identity"},
        solo_images=16,
    )
    return RunResult(
        folder=str(folder),
        command="pbkd run teacher=tiny",
        teacher=_network("tiny", 15, 4000),
        student=_network("tiny student", 14, 1400),
        accuracies={"assembled": 0.8125, "recalibrated": None, "fine-tuned": 0.875},
        blocks=(block,),
        phases=(PhaseResult("teacher-fed", 2.0, 1.9, None, "no sensor", 2.0),),
        notes=("Fine-tuning took the accuracy from 81.25 to 87.50 %.",),
        environment={"torch": "2.6"},
        test_images=16,
        validation_images=16,
    )


def _network(name: str, correct: int, parameters: int) -> NetworkResult:
    return NetworkResult(
        name=name,
        accuracy=correct / 16,
        parameters=parameters,
        macs=15 * parameters,
        latencies=(Latency(0.001, 0.002, 1, 5),),
        weight_bytes=4 * parameters,
        interval=wilson_interval(correct, 16),
    )
