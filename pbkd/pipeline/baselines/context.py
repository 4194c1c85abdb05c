"""What all baselines of a run share: teacher, data, the finished student, and the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.config.options import MEMORY
from pbkd.core.devices import pick_device
from pbkd.errors import ConfigError, RunFolderError
from pbkd.execution.workers import local_workers
from pbkd.models.accuracy import share_correct
from pbkd.models.metrics import macs
from pbkd.models.student_loading import load_student
from pbkd.models.teacher import user_network_factory
from pbkd.pipeline.baselines.epoch_cost import time_budget
from pbkd.pipeline.trust import open_run
from pbkd.report.scores import points
from pbkd.runs.checksums import check_files, check_student
from pbkd.runs.configuration import CONFIG
from pbkd.runs.finished import read_finished
from pbkd.runs.identity import check_inputs
from pbkd.runs.plan_files import read_plan
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.config.schema import RunConfig
    from pbkd.pipeline.baselines.epoch_cost import TimeBudget
    from pbkd.pipeline.baselines.settings import BaselineSettings
    from pbkd.plugin.registry import Registry
    from pbkd.runs.finished import Finished
    from pbkd.training.task import DistillationTask


__all__ = ["BaselineContext", "OpenedRun", "load_context", "open_finished"]


_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A finished run whose baselines are to be trained.

    Attributes:
        folder: The run folder.
        finished: The run.
        config: Its configuration.
        registry: The plugins.
        settings: How baselines are trained.
        budget: What each training may take.
        device: The device.
        threads: CPU threads.
    """

    folder: Path
    finished: Finished
    config: RunConfig
    registry: Registry
    settings: BaselineSettings
    budget: TimeBudget
    device: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class BaselineContext:
    """What all baselines of a run share.

    Attributes:
        run: The run.
        task: Teacher and data.
        student: The finished student, on the task's device.
        student_classes: Its predicted classes of the test images, int64 (len(test),).
        notes: Remarks for the reader of the results.
    """

    run: OpenedRun
    task: DistillationTask
    student: nn.Module
    student_classes: Tensor
    notes: tuple[str, ...]


def open_finished(folder: Path, settings: BaselineSettings) -> OpenedRun:
    """Open a finished run; neither teacher nor data are loaded.

    Args:
        folder: The run folder.
        settings: How baselines are trained.

    Raises:
        ConfigError: If the run's time is unknown, or it has no student of its own.
        UnknownNameError: If there is no such optimiser.
        RunFolderError: If the folder holds no finished run, or its files were changed.
        TrustError: If the folder names code that may not run.
    """
    finished = read_finished(folder)
    if not any(block.replaced for block in finished.result.blocks):
        raise ConfigError(f"the student of the run in '{folder}' is its teacher: none was trained.")
    check_files(folder, [CONFIG])
    config, registry = open_run(folder, settings.moved, trust=settings.trust)
    check_student(folder)
    if config.teacher["name"].startswith(f"{MEMORY}:"):
        raise ConfigError(
            f"the run in '{folder}' compressed a network of a Python program, which no command can"
            " build: run it with teacher=MODULE:FUNCTION to compare it with baselines."
        )
    registry.find("optimiser", settings.optimiser)
    _ = settings.rates
    device = pick_device(config.device)
    threads = _threads(folder, device)
    budget = time_budget(finished, settings.seconds, threads if device == "cpu" else None)
    return OpenedRun(
        folder=folder,
        finished=finished,
        config=config,
        registry=registry,
        settings=settings,
        budget=budget,
        device=local_workers(1, None, device)[0].device,
        threads=threads,
    )


def load_context(run: OpenedRun) -> BaselineContext:
    """Load teacher, data and student of a finished run, and check that they are the same.

    Raises:
        IdentityError: If teacher or data differ from the run's.
        PbkdError: If one of them cannot be loaded.
    """
    task = build_task(run.config, run.registry, run.device)
    check_inputs(run.folder, task)
    make = user_network_factory(run.registry, run.config.teacher)
    student = load_student(run.folder, plugins=run.config.plugins, make=make).to(task.device)
    _check_macs(run, macs(student, task.data.image_shape))
    classes = task.predict(student, task.data.test)
    return BaselineContext(
        run=run,
        task=task,
        student=student,
        student_classes=classes,
        notes=_score_note(run.finished, share_correct(classes, task.data.test)),
    )


def _check_macs(run: OpenedRun, counted: int) -> None:
    recorded = run.finished.result.student.macs
    if counted != recorded:
        raise RunFolderError(
            f"the student in '{run.folder}' has {counted:,} MACs, but result.json says"
            f" {recorded:,}: one of both is of another run."
        )


def _score_note(finished: Finished, score: float) -> tuple[str, ...]:
    """Remark on a student that scores otherwise here than in its run."""
    student = finished.result.student
    recorded = student.score
    if recorded is None or abs(score - recorded) < _SAME:
        return ()
    return (
        f"On this machine the student scores {points(score)}, in its run it scored"
        f" {points(recorded)}; it is compared as it scores here.",
    )


def _threads(folder: Path, device: str) -> int:
    """As many CPU threads as the run's workers had together, at most one per core."""
    workers = read_plan(folder).workers
    return min(local_workers(1, None, device)[0].threads, sum(w.threads for w in workers))
