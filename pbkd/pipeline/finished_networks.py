"""Teacher, student and data of a finished run, to export the student once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.config.options import MEMORY
from pbkd.errors import ExportError
from pbkd.pipeline.exports import FinishedNetworks
from pbkd.pipeline.trust import open_run
from pbkd.runs.checksums import check_files, check_student
from pbkd.runs.configuration import CONFIG
from pbkd.runs.finished import read_finished
from pbkd.runs.identity import check_inputs
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn


__all__ = ["finished_networks"]


def finished_networks(
    folder: Path, student: nn.Module, *, with_preparation: bool, trust: Sequence[Path] = ()
) -> FinishedNetworks:
    """Load the teacher and the data of a finished run.

    Args:
        folder: The run folder.
        student: Its student.
        with_preparation: Whether the exported networks take uint8 pixels.
        trust: Files and folders whose code runs, see `open_run`.

    Raises:
        ExportError: The run's teacher or data were a program's.
        PbkdError: Teacher or data cannot be loaded, or are others than the run's.
    """
    result = read_finished(folder).result
    check_files(folder, [CONFIG])
    check_student(folder)
    settings, registry = open_run(folder, trust=trust)
    if MEMORY in (settings.data["name"], settings.teacher["name"].partition(":")[0]):
        raise ExportError(
            f"the run in '{folder}' got its teacher or data from a program, which alone can export"
            " the student in this format: by pbkd.compress(..., exports=[...])."
        )
    task = build_task(settings, registry, "cpu")
    check_inputs(folder, task)
    return FinishedNetworks(
        task=task,
        student=student,
        scores={"teacher": result.teacher.accuracy, "student": result.student.score},
        seed=settings.seed,
        registry=registry,
        with_preparation=with_preparation,
    )
